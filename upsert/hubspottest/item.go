package hubspottest

// pick is what a fault decides of one input; the zero value: nothing.
type pick struct {
	category string // the answer names the input among its errors, with this category
	omitted  bool   // the answer is silent about the input
	written  bool   // the input is written all the same
}

// picks decides which inputs of a request faults strike; s.mu is held. The first fault that picks an input has it.
func (s *Server) picks(c *call) []pick {
	picked := make([]pick, len(c.inputs))
	for _, f := range s.faults {
		if f.Items == nil && f.Omit == nil || f != c.fault && (f.whole() || !s.strikes(f, c.seen)) {
			continue
		}
		any := false
		for i, in := range c.seen {
			p := f.pick(in)
			if picked[i] == (pick{}) && p != (pick{}) && s.chance(f.ItemShare) {
				picked[i], any = p, true
			}
		}
		if any && f != c.fault {
			f.struck++
		}
	}
	return picked
}

func (f *Fault) pick(in Input) pick {
	if f.Items != nil {
		if category := f.Items(in); category != "" {
			return pick{category: category, written: f.AfterWrite}
		}
	}
	if f.Omit != nil && f.Omit(in) {
		return pick{omitted: true, written: f.AfterWrite}
	}
	return pick{}
}

// chance is true for a share of the calls; 0: for all. s.mu is held.
func (s *Server) chance(share float64) bool { return share <= 0 || s.rand.Float64() < share }
