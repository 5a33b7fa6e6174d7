package main

// Run is the program, but for the process around it.
var Run = run

// Groups are the headings of the settings.
var Groups = groups
