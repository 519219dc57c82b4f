package coexist

// What a check finds: rows about DNS and configuration, and flows.

import "fmt"

// State is how one thing stands.
type State string

// How things stand.
const (
	OK      State = "ok"
	Warning State = "warning" // works, and will disappoint
	Wrong   State = "wrong"   // mail is lost, bounced or goes in circles
	Unknown State = "unknown" // DNS did not answer
)

// rank orders states by how much they matter.
func (s State) rank() int {
	switch s {
	case OK:
		return 0
	case Warning:
		return 1
	case Unknown:
		return 2
	}
	return 3
}

func worst(a, b State) State {
	if b.rank() > a.rank() {
		return b
	}
	return a
}

// Area is what a row is about.
type Area string

// The areas, in the order of the table.
const (
	AreaConfig Area = "configuration"
	AreaMX     Area = "MX"
	AreaSPF    Area = "SPF"
	AreaDMARC  Area = "DMARC"
	AreaDKIM   Area = "DKIM"
	AreaSRS    Area = "SRS"
)

// Row is one line of the table.
type Row struct {
	Area  Area   `json:"area"`
	What  string `json:"what"`
	State State  `json:"state"`
	Found string `json:"found"`
	// Fix is what to change; "" where State is ok.
	Fix string `json:"fix,omitempty"`
}

// Flow is what one kind of mail would do.
type Flow struct {
	Number   int    `json:"number"` // 1 to 12
	Name     string `json:"name"`
	State    State  `json:"state"`
	Path     string `json:"path"`
	Envelope string `json:"envelope"` // as sent, and what becomes of it
	Reply    string `json:"reply"`    // what the sending side gets to hear
	Why      string `json:"why"`
	Fix      string `json:"fix,omitempty"`
}

// Side is whose a mail host is.
type Side string

// Whose a mail host, or all hosts of a name, are.
const (
	Ours    Side = "ours"
	Other   Side = "other"
	Mixed   Side = "mixed"   // some ours, some of the other system
	Third   Side = "third"   // neither, as far as can be told
	Nowhere Side = "nowhere" // no host that could take mail
	Unclear Side = "unclear" // DNS did not answer
)

// Route is the flows by one route of the configuration.
type Route struct {
	Key       string `json:"key"` // coexistence[0]
	Alternate string `json:"alternate"`
	Flows     []Flow `json:"flows"`
}

// Report is all that a check of one domain found.
type Report struct {
	Domain string  `json:"domain"`
	State  State   `json:"state"` // the worst of all
	MX     Side    `json:"mx"`    // whose the domain's MX is
	Rows   []Row   `json:"rows"`
	Routes []Route `json:"routes"`
}

// Count tells how many rows and flows are in a state.
func (r *Report) Count(s State) int {
	n := 0
	for _, row := range r.Rows {
		if row.State == s {
			n++
		}
	}
	for _, route := range r.Routes {
		for _, f := range route.Flows {
			if f.State == s {
				n++
			}
		}
	}
	return n
}

func (r *Report) finish() {
	r.State = OK
	for _, row := range r.Rows {
		r.State = worst(r.State, row.State)
	}
	for _, route := range r.Routes {
		for _, f := range route.Flows {
			r.State = worst(r.State, f.State)
		}
	}
}

// notAnswered is the row for a question that DNS did not answer.
func notAnswered(area Area, what string, err *LookupError) Row {
	return Row{Area: area, What: what, State: Unknown, Found: "unknown: DNS did not answer: " + err.Error(),
		Fix: fmt.Sprintf("ask again later, or another server (--resolver); if it stays, mend the name servers of %s", err.Name)}
}
