// The dashboard of yotpo-td: what is true of a target, and what its run does.
//
// A run may be seen by several sources (the file, a Pushgateway, a scrape of the program). They have the same values, so queries
// take the maximum of them and never the sum.
import { type Dashboard, DashboardCursorSync, VariableHide, type VariableModel, VariableRefresh, VariableSort } from '@grafana/schema';

import { arrange, datasource, graph, stat, timeline } from './panels.js';

const TARGET = 'store_id, database, table';
const SOURCE = `${TARGET}, instance, job`;
const NAME = '{{store_id}} {{database}}.{{table}}';

/** A metric of the chosen targets, with further matchers. */
function of(metric: string, ...matchers: string[]): string {
  const chosen = ['store_id=~"$store_id"', 'database=~"$database"', 'table=~"$table"', ...matchers];
  return `yotpo_td_${metric}{${chosen.join(', ')}}`;
}

/** The value of a target, whichever source has it, also by further labels. */
function latest(expression: string, ...labels: string[]): string {
  return `max by (${[TARGET, ...labels].join(', ')}) (${expression})`;
}

function rate(metric: string, ...matchers: string[]): string {
  return `rate(${of(metric, ...matchers)}[$__rate_interval])`;
}

/** A rate of counters that are added up within one source. */
function total(expression: string, ...labels: string[]): string {
  return latest(`sum by (${[SOURCE, ...labels].join(', ')}) (${expression})`, ...labels);
}

function quantile(q: number): string {
  const buckets = `sum by (le, service, operation) (${rate('request_duration_seconds_bucket')})`;
  return `histogram_quantile(${q}, ${buckets})`;
}

function labelVariable(name: string, label: string, ...matchers: string[]): VariableModel {
  return {
    name,
    label,
    type: 'query',
    datasource,
    query: `label_values(yotpo_td_run_start_timestamp_seconds{${matchers.join(', ')}}, ${name})`,
    refresh: VariableRefresh.onTimeRangeChanged,
    sort: VariableSort.alphabeticalAsc,
    hide: VariableHide.dontHide,
    multi: true,
    includeAll: true,
    // Also what has no such label: an export has no table.
    allValue: '.*',
    current: { text: 'All', value: '$__all' },
  };
}

export const dashboard: Dashboard = {
  uid: 'yotpo-td',
  title: 'yotpo-td',
  description: 'Loads of Yotpo customers into Treasure Data',
  tags: ['yotpo-td'],
  schemaVersion: 39,
  editable: true,
  graphTooltip: DashboardCursorSync.Crosshair,
  refresh: '1m',
  time: { from: 'now-24h', to: 'now' },
  timezone: 'utc',
  templating: {
    list: [
      { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', hide: VariableHide.dontHide },
      labelVariable('store_id', 'Store'),
      labelVariable('database', 'Database', 'store_id=~"$store_id"'),
      labelVariable('table', 'Table', 'store_id=~"$store_id"', 'database=~"$database"'),
    ],
  },
  panels: arrange([
    {
      title: 'What is true of the table',
      height: 5,
      panels: [
        stat({
          title: 'Time since the last success',
          description: 'How old the rows of the table are. Red after 26 hours, like the alert YotpoTdLate.',
          unit: 's',
          decimals: 1,
          redFrom: 26 * 3600,
          noValue: 'no success',
          queries: [{ expr: `time() - ${latest(of('last_success_timestamp_seconds'))}`, legend: NAME }],
        }),
        stat({
          title: 'Rows of the last success',
          description: 'Rows that the last successful run loaded or exported.',
          unit: 'locale',
          decimals: 0,
          noValue: 'unknown',
          queries: [{ expr: latest(of('last_success_rows')), legend: NAME }],
        }),
        stat({
          title: 'Exit code',
          description: 'Exit code of the last run that ended. docs/operations.md has a section for each.',
          unit: 'none',
          decimals: 0,
          redFrom: 1,
          noValue: 'no run has ended',
          queries: [{ expr: latest(of('exit_code')), legend: NAME }],
        }),
        stat({
          title: 'Failure',
          description: 'Error code of the last run that ended. `yotpo-td explain CODE` says what to do.',
          unit: 'none',
          redFrom: 1,
          noValue: 'none',
          names: true,
          queries: [{ expr: `${latest(of('failure'), 'code')} == 1`, legend: `{{code}} (${NAME})` }],
        }),
        stat({
          title: 'Interrupted run expires in',
          description: 'How long what was fetched can still be used. The same command resumes the run.',
          unit: 's',
          decimals: 1,
          noValue: 'nothing interrupted',
          queries: [
            { expr: `${latest(of('interrupted_run_expiry_timestamp_seconds'))} - time() > 0`, legend: NAME },
          ],
        }),
      ],
    },
    {
      height: 7,
      panels: [
        graph({
          title: 'Rows of the last success',
          description: 'A step for each successful run. A sharp drop is an alert (YotpoTdRowsDropped).',
          unit: 'locale',
          steps: true,
          queries: [{ expr: latest(of('last_success_rows')), legend: NAME }],
        }),
        graph({
          title: 'Failures by code',
          description: '1 from the end of a failed run to the start of the next one.',
          unit: 'none',
          steps: true,
          queries: [{ expr: `${latest(of('failure'), 'code')} == 1`, legend: `{{code}} (${NAME})` }],
        }),
      ],
    },
    {
      title: 'The run',
      height: 8,
      panels: [
        timeline({
          title: 'Phases',
          description: 'Which phase the run was in. docs/logs.md explains them.',
          unit: 'none',
          queries: [{ expr: `${latest(of('phase'), 'phase')} == 1`, legend: '{{phase}} ({{table}})' }],
        }),
        timeline({
          title: 'Load job',
          description: 'State of the load job when it was last polled.',
          unit: 'none',
          queries: [{ expr: `${latest(of('load_job'), 'state')} == 1`, legend: '{{state}} ({{table}})' }],
        }),
        graph({
          title: 'Duration by phase',
          description: 'How long the phases of the latest run have lasted so far.',
          unit: 's',
          queries: [{ expr: latest(of('phase_duration_seconds'), 'phase'), legend: '{{phase}} ({{table}})' }],
        }),
      ],
    },
    {
      height: 8,
      panels: [
        graph({
          title: 'Customers per second',
          description: 'Customers fetched. At the default rate, at most 450.',
          unit: 'cps',
          queries: [{ expr: latest(rate('customers_total')), legend: NAME }],
        }),
        graph({
          title: 'Customers',
          description: 'Customers fetched by the run, and those of the last run that this machine finished.',
          unit: 'locale',
          queries: [
            { expr: latest(of('customers_total')), legend: NAME },
            { expr: latest(of('expected_customers')), legend: `last run ${NAME}`, limit: true },
          ],
        }),
        graph({
          title: 'Requests per second to Yotpo, and the limit',
          description:
            'Dashed: the rate in force (the configured rate, or what other clients leave), the configured rate, and the limit that Yotpo reports.',
          unit: 'reqps',
          queries: [
            { expr: total(rate('requests_total', 'service="Yotpo"')), legend: NAME },
            { expr: latest(of('rate_limit_requests_per_second')), legend: `in force ${NAME}`, limit: true },
            { expr: latest(of('rate_limit_configured_requests_per_second')), legend: `configured ${NAME}`, limit: true },
            { expr: latest(of('rate_limit_header_limit')), legend: `reported ${NAME}`, limit: true },
          ],
        }),
      ],
    },
    {
      title: 'Services',
      height: 8,
      panels: [
        graph({
          title: 'Latency by operation',
          description: 'From sending a request until its response is complete, without the wait for the rate limit.',
          unit: 's',
          queries: [
            { expr: quantile(0.5), legend: 'p50 {{service}}: {{operation}}' },
            { expr: quantile(0.95), legend: 'p95 {{service}}: {{operation}}' },
            { expr: quantile(0.99), legend: 'p99 {{service}}: {{operation}}' },
          ],
        }),
        graph({
          title: 'Requests per second by status',
          description: 'none: without a complete response.',
          unit: 'reqps',
          queries: [
            { expr: total(rate('requests_total'), 'service', 'status'), legend: '{{service}} {{status}} ({{table}})' },
          ],
        }),
        graph({
          title: 'Retries by cause',
          description: 'Requests that were sent again, per second. More than 10 % are an alert (YotpoTdManyRetries).',
          unit: 'reqps',
          stack: true,
          queries: [
            { expr: `${latest(rate('retries_total'), 'service', 'cause')} > 0`, legend: '{{service}} {{cause}} ({{table}})' },
          ],
        }),
      ],
    },
    {
      height: 8,
      panels: [
        graph({
          title: 'Wait for the rate limit',
          description: 'Seconds per second: our own rate (wait), and pauses for other clients or because Yotpo requested a delay.',
          unit: 'percentunit',
          queries: [
            { expr: latest(rate('rate_limit_wait_seconds_total')), legend: `wait ${NAME}` },
            { expr: latest(rate('rate_limit_pause_seconds_total')), legend: `pause ${NAME}` },
          ],
        }),
        graph({
          title: 'Other clients of the store',
          description: 'Requests per second that other clients use, as estimated, and what Yotpo reported as remaining.',
          unit: 'reqps',
          queries: [
            { expr: latest(of('rate_limit_other_clients_requests_per_second')), legend: `others ${NAME}` },
            { expr: latest(of('rate_limit_header_remaining')), legend: `remaining ${NAME}`, limit: true },
          ],
        }),
        graph({
          title: 'Retry budget',
          description: 'What is left of it: 100 % if nothing fails. At 0, requests fail instead of being retried.',
          unit: 'percentunit',
          queries: [{ expr: latest(of('retry_budget_ratio'), 'service'), legend: '{{service}} ({{table}})' }],
        }),
      ],
    },
    {
      title: 'The machine',
      height: 8,
      panels: [
        graph({
          title: 'Parts and queues',
          description: 'Batches of rows in work, and parts that wait for their upload. Parts that stay queued: the upload is slower than Yotpo.',
          unit: 'none',
          queries: [
            { expr: latest(of('parts'), 'state'), legend: 'parts {{state}} ({{table}})' },
            { expr: latest(of('queued_batches')), legend: 'batches ({{table}})' },
          ],
        }),
        graph({
          title: 'Network',
          description: 'Bytes of request and response bodies.',
          unit: 'Bps',
          queries: [
            { expr: latest(rate('received_bytes_total'), 'service'), legend: 'from {{service}} ({{table}})' },
            { expr: latest(rate('sent_bytes_total'), 'service'), legend: 'to {{service}} ({{table}})' },
          ],
        }),
        graph({
          title: 'Memory',
          description: 'Resident memory of the process, and its peak. docs/performance.md has the bound.',
          unit: 'bytes',
          queries: [
            { expr: latest(of('resident_memory_bytes')), legend: NAME },
            { expr: latest(of('resident_memory_peak_bytes')), legend: `peak ${NAME}`, limit: true },
          ],
        }),
      ],
    },
  ]),
};
