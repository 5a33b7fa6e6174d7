package consumer

func (r *Record) Sent()            { r.Leave() }
func (r *Record) WhenDue(f func()) { f() }
func (r *Record) Lost() bool       { return r.part != nil && r.state == stateGone }
