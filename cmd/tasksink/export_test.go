package main

// Run is the program, but for the process around it.
var Run = run

// InForce is a line of what config prints.
type InForce = inForce

// ConfigTable is what config prints to a terminal.
var ConfigTable = configTable
