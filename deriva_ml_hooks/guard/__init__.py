"""Gates what is typed without `run`, in a repository that has said so once.

`setting` says whether a folder is guarded, `restart` starts a program again under `run`, `hydra` does both
for a Hydra application and holds every job of a sweep to the commit of the first. Off by default; where it is
off nothing changes, and nothing heavy is imported.
"""
