/** The panel at the side: hardware, workers, money, runs. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

const panel: JupyterFrontEndPlugin<void> = {
  id: '@cellferry/lab:plugin',
  description: 'The panel: machines, workers, money and runs.',
  autoStart: true,
  optional: [ISettingRegistry],
  activate: (_app: JupyterFrontEnd, _settings: ISettingRegistry | null) => undefined
};

export const panelPlugins: JupyterFrontEndPlugin<any>[] = [panel];
