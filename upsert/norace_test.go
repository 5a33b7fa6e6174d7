//go:build !race

package upsert_test

// underRace tells whether the race detector slows the tests down by far. The long ones leave most of their cases to a
// run without it.
const underRace = false
