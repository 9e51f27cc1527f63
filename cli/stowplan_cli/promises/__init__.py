"""Do the promises hold? From the API server's objects alone: none of the code that decides is used, so that its errors show."""
