"""The panel in a browser tab, as someone handles it."""

from __future__ import annotations

from lab.notebook_page import NotebookPage


class PanelPage(NotebookPage):
    """A tab with a notebook and the panel open beside it."""

    def open_panel(self):
        from playwright.sync_api import expect

        self.command("cellferry:open")
        expect(self.panel).to_be_visible()
        self.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")

    @property
    def panel(self):
        return self.page.locator("#cellferry-panel")

    def section(self, name):
        """The body of one section."""
        return self.page.locator(f"#cf-body-{name}")

    def fold(self, title):
        """Fold a section, or open it."""
        self.panel.get_by_role("button", name=title, exact=False).first.click()
