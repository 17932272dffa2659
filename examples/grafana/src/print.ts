// Prints the dashboard as JSON.
import { dashboard } from './dashboard.js';

console.log(JSON.stringify(dashboard, null, 2));
