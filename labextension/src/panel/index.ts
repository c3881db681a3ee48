/** The panel at the side: hardware, workers, money, runs. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { ILive, Live } from '../live';

const live: JupyterFrontEndPlugin<ILive> = {
  id: '@cellferry/lab:live',
  description: 'What goes on at the workers, as the server pushes it.',
  autoStart: true,
  provides: ILive,
  activate: (app: JupyterFrontEnd): ILive => {
    const client = new Live(app.serviceManager.serverSettings);
    void app.restored.then(() => client.connect());
    return client;
  }
};

const panel: JupyterFrontEndPlugin<void> = {
  id: '@cellferry/lab:plugin',
  description: 'The panel: machines, workers, money and runs.',
  autoStart: true,
  optional: [ISettingRegistry],
  activate: (_app: JupyterFrontEnd, _settings: ISettingRegistry | null) => undefined
};

export const panelPlugins: JupyterFrontEndPlugin<any>[] = [live, panel];
