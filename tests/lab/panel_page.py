"""The panel in a browser tab, as someone handles it."""

from __future__ import annotations

from lab.notebook_page import NotebookPage


class PanelPage(NotebookPage):
    """A tab with a notebook and the panel open beside it."""

    def __init__(self, *args, idle=True, **options):
        self._waits_for_idle = idle
        super().__init__(*args, **options)

    def ready(self):
        """As for every tab; of a second one, whose kernel is busy (``idle=False``), only until the notebook is there."""
        from playwright.sync_api import expect

        if self._waits_for_idle:
            super().ready()
        expect(self.page.locator(".jp-Notebook .jp-CodeCell").first).to_be_visible()
        self.page.wait_for_function("() => window.jupyterapp?.commands.hasCommand('cellferry:open')")

    def open_panel(self):
        from playwright.sync_api import expect

        self.command("cellferry:open")
        expect(self.panel).to_be_visible()
        self.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")

    @property
    def panel(self):
        return self.page.locator("#cellferry-panel")

    def noise(self):
        """What was written on the console about us, but JupyterLab's remark that a busy machine started it slowly."""
        return [text for text in self.said if "to activate" not in text]

    def section(self, name):
        """The body of one section."""
        return self.page.locator(f"#cf-body-{name}")

    def fold(self, title):
        """Fold a section, or open it."""
        self.panel.get_by_role("button", name=title, exact=False).first.click()
