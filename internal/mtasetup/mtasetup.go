// Package mtasetup decides what an MTA must be told so that mail goes through
// Cloakroom. It takes what the configuration says and what is known of the
// machine, and gives a plan: changes with their reasons, and what a person has to
// see to. It reads and writes nothing; package attach carries plans out.
//
// What is there already keeps its place. Ours goes between, in the order that
// serves mail: on port 25 behind what scans and verifies, on submission behind
// what scans and before what signs.
package mtasetup

// What is asked for, and what comes out.

import (
	"io/fs"
	"net/netip"
)

// Settings is what Cloakroom's configuration says of the MTA's side.
type Settings struct {
	Listen     string         // milter.listen, valid
	SocketMode fs.FileMode    // milter.socket_mode
	Observe    bool           // mode is observe: nothing is done to mail
	Accept     bool           // milter.on_error is accept
	LinksOnly  bool           // nothing but links is at stake: no co-existence, no vault, no refusals
	Submit     string         // submit.smtp, HOST:PORT; "" for none
	Routes     []Route        // coexistence
	Trusted    []netip.Prefix // trusted
}

// Route is a domain that is shared with another mail system.
type Route struct {
	Domain, Alternate string
	Daemon            string         // the listener that the other system alone is told of; "" for none
	Networks          []netip.Prefix // where the other system is
	SRSDomain         string         // of rewritten senders; "" where none are
}

// Options is what an administrator says beyond the configuration. Milters are
// named by their addresses, services as master.cf does, with or without /inet.
type Options struct {
	Scanners, Verifiers, Signers []string // milters whose work cannot be told from their address
	After, Before                string   // the milter that ours stands behind, or before, wherever it is listed
	Attach, Leave                []string // services that are wanted, or unwanted, whatever they look like
	GatewayPort                  int      // of a new listener for the other system; 0: the first free one from 10025
}

// Kind is what a change changes.
type Kind string

const (
	Parameter Kind = "parameter" // a parameter of main.cf
	Override  Kind = "override"  // a parameter of one service in master.cf
	Service   Kind = "service"   // a whole new service in master.cf
	File      Kind = "file"      // a new file
	Block     Kind = "block"     // our lines in sendmail.mc
)

// Change is one thing to change.
type Change struct {
	Kind    Kind    `json:"kind"`
	Service string  `json:"service,omitempty"` // NAME/TYPE
	Name    string  `json:"name,omitempty"`    // of the parameter; path of the file
	Old     *string `json:"old"`               // null: not set there before
	New     string  `json:"new"`               // value; the service's line; the file's content
	Reason  string  `json:"reason"`
}

// Level is how much a remark matters.
type Level string

const (
	Info    Level = "info"
	Warning Level = "warning" // mail flows, and something disappoints
	Problem Level = "problem" // the plan cannot be carried out as things are
)

// Remark is something to know.
type Remark struct {
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Step is what a person has to do.
type Step struct {
	Command string   `json:"command,omitempty"`
	Lines   []string `json:"lines,omitempty"` // for a configuration file
	Reason  string   `json:"reason"`
}

// Listener is where mail comes in, and who sees it there once the plan is done.
type Listener struct {
	Service string   `json:"service"`
	Purpose string   `json:"purpose"`
	Milters []string `json:"milters"` // in order, as people call them
	Ours    bool     `json:"cloakroom"`
}

// Plan is all of it.
type Plan struct {
	MTA       string     `json:"mta"` // "Postfix 3.7.11"
	Folder    string     `json:"folder"`
	Milter    string     `json:"milter"` // our address, as the MTA has to write it
	Changes   []Change   `json:"changes"`
	Listeners []Listener `json:"listeners"`
	Remarks   []Remark   `json:"remarks"`
	Steps     []Step     `json:"steps"`
}

// Problems lists what is in the way.
func (p *Plan) Problems() []string {
	var out []string
	for _, r := range p.Remarks {
		if r.Level == Problem {
			out = append(out, r.Text)
		}
	}
	return out
}
