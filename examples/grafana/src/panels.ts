// Panels as this dashboard uses them: what they have in common, and few colours.
import {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  type DataSourceRef,
  type FieldConfig,
  FieldColorModeId,
  type GraphFieldConfig,
  GraphDrawStyle,
  type GridPos,
  LegendDisplayMode,
  LineInterpolation,
  MappingType,
  type Panel,
  PercentChangeColorMode,
  type RowPanel,
  SortOrder,
  StackingMode,
  ThresholdsMode,
  type ThresholdsConfig,
  TooltipDisplayMode,
  type ValueMapping,
  VisibilityMode,
} from '@grafana/schema';
import type { Options as StateTimelineOptions } from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as TimeSeriesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

export const datasource: DataSourceRef = { type: 'prometheus', uid: '${datasource}' };

/** A query, as the Prometheus data source reads it. */
interface Target {
  refId: string;
  expr: string;
  legendFormat: string;
  instant: boolean;
  range: boolean;
}

export interface Query {
  expr: string;
  legend: string;
  /** A limit: a thin dashed line, so that it does not compete with what is measured. */
  limit?: boolean;
}

/** What each panel has. */
interface Common {
  title: string;
  /** What it shows, and what to make of it. */
  description: string;
  unit: string;
  queries: Query[];
}

const letters = 'ABCDEFGH';
const refId = (index: number): string => letters.charAt(index);

function targets(queries: Query[], instant: boolean): Record<string, unknown>[] {
  return queries.map((query, index): Target & Record<string, unknown> => ({
    refId: refId(index),
    expr: query.expr,
    legendFormat: query.legend,
    instant,
    range: !instant,
  }));
}

/** Plain text, and red from `limit` on. */
export function redFrom(limit?: number): ThresholdsConfig {
  const steps: ThresholdsConfig['steps'] = [{ value: null as unknown as number, color: 'text' }];
  if (limit !== undefined) {
    steps.push({ value: limit, color: 'red' });
  }
  return { mode: ThresholdsMode.Absolute, steps };
}

interface StatPanel extends Common {
  decimals?: number;
  /** The value is red from here on. */
  redFrom?: number;
  mappings?: ValueMapping[];
  /** What the panel says without data. */
  noValue?: string;
  /** The series' name instead of its value. */
  names?: boolean;
}

export function stat(panel: StatPanel): Panel {
  const defaults: FieldConfig = {
    unit: panel.unit,
    thresholds: redFrom(panel.redFrom),
    color: { mode: FieldColorModeId.Thresholds },
    mappings: panel.mappings ?? [],
  };
  if (panel.decimals !== undefined) {
    defaults.decimals = panel.decimals;
  }
  if (panel.noValue !== undefined) {
    defaults.noValue = panel.noValue;
  }
  const options: StatOptions = {
    colorMode: BigValueColorMode.Value,
    graphMode: BigValueGraphMode.None,
    justifyMode: BigValueJustifyMode.Auto,
    textMode: panel.names ? BigValueTextMode.Name : BigValueTextMode.Auto,
    percentChangeColorMode: PercentChangeColorMode.Standard,
    showPercentChange: false,
    wideLayout: true,
    orientation: 'auto' as StatOptions['orientation'],
    reduceOptions: { values: false, calcs: ['lastNotNull'], fields: '' },
  };
  return {
    type: 'stat',
    title: panel.title,
    description: panel.description,
    datasource,
    targets: targets(panel.queries, true),
    fieldConfig: { defaults, overrides: [] },
    options: { ...options },
  };
}

interface GraphPanel extends Common {
  stack?: boolean;
  /** Values keep their level until the next one. */
  steps?: boolean;
}

export function graph(panel: GraphPanel): Panel {
  const custom: GraphFieldConfig = {
    drawStyle: GraphDrawStyle.Line,
    lineInterpolation: panel.steps ? LineInterpolation.StepAfter : LineInterpolation.Linear,
    lineWidth: 1,
    fillOpacity: panel.stack ? 20 : 0,
    showPoints: VisibilityMode.Never,
    spanNulls: false,
    stacking: { mode: panel.stack ? StackingMode.Normal : StackingMode.None, group: 'A' },
  };
  const defaults: FieldConfig = {
    unit: panel.unit,
    min: 0,
    // Shades of one colour. The legend has the numbers.
    color: { mode: FieldColorModeId.Shades, fixedColor: 'blue' },
    thresholds: redFrom(),
    mappings: [],
    custom: { ...custom },
  };
  const limits = panel.queries.flatMap((query, index) =>
    query.limit
      ? [
          {
            matcher: { id: 'byFrameRefID', options: refId(index) },
            properties: [
              { id: 'color', value: { mode: FieldColorModeId.Fixed, fixedColor: 'text' } },
              { id: 'custom.lineStyle', value: { fill: 'dash', dash: [8, 8] } },
            ],
          },
        ]
      : [],
  );
  const options: TimeSeriesOptions = {
    legend: {
      displayMode: LegendDisplayMode.Table,
      placement: 'bottom',
      showLegend: true,
      calcs: ['lastNotNull', 'max'],
    },
    tooltip: { mode: TooltipDisplayMode.Multi, sort: SortOrder.Descending },
  };
  return {
    type: 'timeseries',
    title: panel.title,
    description: panel.description,
    datasource,
    targets: targets(panel.queries, false),
    fieldConfig: { defaults, overrides: limits },
    options: { ...options },
  };
}

/** States as they follow each other: each series is 1 while it is the current one. */
export function timeline(panel: Common): Panel {
  const active: ValueMapping = { type: MappingType.ValueToText, options: { '1': { text: ' ', color: 'blue', index: 0 } } };
  const options: StateTimelineOptions = {
    mergeValues: true,
    showValue: VisibilityMode.Never,
    rowHeight: 0.8,
    legend: { displayMode: LegendDisplayMode.List, placement: 'bottom', showLegend: false, calcs: [] },
    tooltip: { mode: TooltipDisplayMode.Single, sort: SortOrder.None },
  };
  return {
    type: 'state-timeline',
    title: panel.title,
    description: panel.description,
    datasource,
    targets: targets(panel.queries, false),
    fieldConfig: {
      defaults: {
        unit: panel.unit,
        color: { mode: FieldColorModeId.Fixed, fixedColor: 'blue' },
        thresholds: redFrom(),
        mappings: [active],
        custom: { fillOpacity: 60, lineWidth: 0 },
      },
      overrides: [],
    },
    options: { ...options },
  };
}

/** A row of panels of equal width, below the line `y` of the grid. */
export interface Band {
  /** A title above the band. */
  title?: string;
  height: number;
  panels: Panel[];
}

const COLUMNS = 24;

/** Puts the bands below each other, and numbers the panels. */
export function arrange(bands: Band[]): (Panel | RowPanel)[] {
  const placed: (Panel | RowPanel)[] = [];
  let y = 0;
  for (const band of bands) {
    if (band.title !== undefined) {
      const gridPos: GridPos = { x: 0, y, w: COLUMNS, h: 1 };
      placed.push({ type: 'row', title: band.title, collapsed: false, id: placed.length + 1, gridPos, panels: [] });
      y += 1;
    }
    const w = Math.floor(COLUMNS / band.panels.length);
    band.panels.forEach((panel, index) => {
      placed.push({ ...panel, id: placed.length + 1, gridPos: { x: index * w, y, w, h: band.height } });
    });
    y += band.height;
  }
  return placed;
}
