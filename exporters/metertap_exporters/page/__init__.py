"""The live page: what is slow, what fails, which cache does not help, in a browser."""

from metertap_exporters.page.page import routes

__all__ = ["routes"]
