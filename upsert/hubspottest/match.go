package hubspottest

import "slices"

// Has matches the requests that hold the id. It is for Fault.Match.
func Has(id string) func([]Input) bool {
	return func(in []Input) bool {
		return slices.ContainsFunc(in, func(i Input) bool { return i.ID == id })
	}
}

// Carries matches the requests that hold an input with the property and value. It is for Fault.Match.
func Carries(property, value string) func([]Input) bool {
	return func(in []Input) bool {
		return slices.ContainsFunc(in, func(i Input) bool {
			v, ok := i.Properties[property]
			return ok && v == value
		})
	}
}

// Every picks every input, and names it with the category. It is for Fault.Items.
func Every(category string) func(Input) string {
	return func(Input) string { return category }
}
