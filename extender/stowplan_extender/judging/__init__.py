"""One pod over many nodes: `judgements` asks `decision` what it must know, and has it decide.

`predictions` remembers what the predictor said, `askings` calls it and waits only so long, `probes` looks whether it is there.
"""
