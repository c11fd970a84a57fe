"""`kossel report`: one page on a run, whole in one file, or served while the run goes on.

`run_files` reads what is on disk; `crystals` and `atoms` pack the growth for the page; `labels` and `series` what the
plots show; `findings` says what to do next; `sentences` and `tables` say it in words; `page` puts all together.
"""
