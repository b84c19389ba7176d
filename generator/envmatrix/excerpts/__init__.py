"""Excerpts of archives: the few members that images use, from ranges of the whole file. Pure"""
