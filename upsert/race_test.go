//go:build race

package upsert_test

const underRace = true
