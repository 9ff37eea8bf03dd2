"""The collections as tools for assistants: an MCP server with search, show, describe
and duplicates.

Assistants start it themselves and talk over stdin and stdout (`seesay mcp`), or reach it at /mcp of
`seesay serve`.
"""

from seesay.api.mcp.server import build_mcp, mount_mcp

__all__ = ["build_mcp", "mount_mcp"]
