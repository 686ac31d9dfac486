"""The dask engine: stages on the workers of a Dask cluster, each of which drives its own docker or local engine.

The driver is the mcwbuild that a person called. It puts a call's files into the shared folder by their SHA-256
(`objects`, `tree`), submits one task a call (`engine`), and hears of it by the scheduler's events (`voice`). The worker
lays the files out in a scratch folder of its own, runs the stage there, and puts what was made into an attempt's
folder (`task`, `results`). The driver takes it by its hashes.

    <shared folder>/objects/ab/abcd...                  inputs, by content; whoever needs one again finds it
    <shared folder>/calls/<call>/<attempt>/report.json  what became of an attempt, written last
    <shared folder>/calls/<call>/<attempt>/0, 1, ...    the files that it names

A stage never sees the shared folder: one whose worker was lost writes into a scratch folder that nobody reads.
Dask is imported below here and nowhere else.
"""
