"""The HTTP side: `listeners` (sockets), `servers` (paths to answers, errors to texts), `verbs` (filter, prioritize, bind)."""
