/** What stands at the cells: where each one runs, and how its outputs were made. */
import { JupyterFrontEndPlugin } from '@jupyterlab/application';

export const cellPlugins: JupyterFrontEndPlugin<any>[] = [];
