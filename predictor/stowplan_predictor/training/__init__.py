"""Data sets, the networks they are measured on, and what is learned from them. Needs the extra `train`; serving code never imports it."""
