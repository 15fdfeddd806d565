"""The only place that talks to git: the program through `process`, its files through dulwich."""
