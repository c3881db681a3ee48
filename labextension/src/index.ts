/** Every plugin of the extension: the panel at the side, and what stands at the cells. */
import { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { cellPlugins } from './cell';
import { panelPlugins } from './panel';

const plugins: JupyterFrontEndPlugin<any>[] = [...panelPlugins, ...cellPlugins];

export default plugins;
