"""What every command says and how: tables or documents, progress, refusals and exit statuses, files written whole, options in common."""
