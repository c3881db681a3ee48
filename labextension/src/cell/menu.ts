/** The menu of where a cell may run: JupyterLab's own, so that it looks and listens to keys as all others do. */
import { CommandRegistry } from '@lumino/commands';
import { Menu } from '@lumino/widgets';

import type { Act, Choices } from './choices';

/** Open the choices below an element; resolves with what was chosen, `null` if nothing was. */
export function openMenu(choices: Choices, anchor: HTMLElement): Promise<Act | null> {
  const commands = new CommandRegistry();
  const menu = new Menu({ commands });
  menu.addClass('cf-Menu');
  return new Promise(resolve => {
    choices.forEach((group, at) => {
      group.forEach((choice, index) => {
        const id = `${at}-${index}`;
        commands.addCommand(id, {
          label: choice.label,
          caption: choice.caption,
          // no separator: it would take the focus, and has no meaning for a screen reader
          className: at && !index ? 'cf-mod-group' : '',
          isToggleable: choice.checked !== undefined,
          isToggled: () => choice.checked === true,
          execute: () => resolve(choice.act)
        });
        menu.addItem({ command: id });
      });
    });
    menu.aboutToClose.connect(() => {
      // the command of an item is called after the menu has closed
      setTimeout(() => {
        resolve(null);
        menu.dispose();
        if (document.activeElement === document.body) {
          anchor.focus();
        }
      });
    });
    const place = anchor.getBoundingClientRect();
    menu.open(place.left, place.bottom);
    menu.activeIndex = Math.max(
      0,
      menu.items.findIndex(item => item.isToggled)
    );
  });
}
