/*!
 * Parts of Apache ECharts 6.1.0, Copyright 2017-2026 The Apache Software Foundation (https://www.apache.org/), Apache License 2.0,
 * and of its ZRender, Copyright (c) 2017, Baidu Inc., BSD 3-Clause License. https://echarts.apache.org
 */
// Those that page.js draws with; `make echarts` bundles them into echarts.min.js.
import { use } from "echarts/core";
import { BarChart, CustomChart, LineChart } from "echarts/charts";
import { DataZoomComponent, GridComponent, LegendComponent, TooltipComponent } from "echarts/components";
import { SVGRenderer } from "echarts/renderers";

use([BarChart, CustomChart, LineChart, DataZoomComponent, GridComponent, LegendComponent, TooltipComponent, SVGRenderer]);

export { init, version } from "echarts/core";
