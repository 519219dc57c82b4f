package doctor

// Lines about what others have looked at: a vault's targets, the directory.

import (
	"fmt"
	"time"
)

const (
	// slowTarget is how long a connection to a vault may take, slowQuestion a
	// question on it, before uploads are noticeably slow.
	slowTarget   = 5 * time.Second
	slowQuestion = 2 * time.Second
	// slowDirectory is how long a lookup may take: mail waits for it.
	slowDirectory = 2 * time.Second
)

// Target is what is known of a vault's target.
type Target struct {
	Name, Address     string
	Connect, Question time.Duration // until the first answer, and for another
	Err, Hint         string        // it does not work
	Held              bool          // nothing is uploaded until somebody releases it
	Why               string        // the queue's last error
	Waiting, Failed   int64         // uploads
}

// Line tells of one target.
func (t Target) Line() Line {
	where := t.Name + " (" + t.Address + ")"
	release := "cloakroom queue release --target " + t.Name
	hint := t.Hint
	if hint == "" {
		hint = "cloakroom vault test " + t.Name + " goes step by step"
	}
	switch {
	case t.Err != "" && t.Held:
		return wrong(hint+"; afterwards: "+release, "%s: %s; held, uploads wait: %d", where, t.Err, t.Waiting)
	case t.Err != "":
		return wrong(hint, "%s: %s; uploads wait: %d", where, t.Err, t.Waiting)
	case t.Held:
		why := ""
		if t.Why != "" {
			why = " after: " + t.Why
		}
		return warn(release, "%s answers, but is held%s; uploads wait: %d", where, why, t.Waiting)
	case t.Failed > 0:
		return warn("cloakroom queue list --state failed --target "+t.Name+" tells why; then cloakroom queue retry --state failed --target "+t.Name,
			"%s answers; uploads that failed for good: %d", where, t.Failed)
	case t.Connect > slowTarget || t.Question > slowQuestion:
		return warn("look at the network and the server: uploads are slow", "%s: connecting takes %s, a question %s", where, short(t.Connect), short(t.Question))
	}
	return ok("%s: connected in %s, a question takes %s", where, short(t.Connect), short(t.Question))
}

// Directory is what is known of where users are looked up.
type Directory struct {
	File    string        // "" for LDAP
	Server  string        // the LDAP servers
	Err     error         // it does not answer, or cannot be read
	Took    time.Duration // for a lookup; of a file, to read it
	None    bool          // it has no users
	Users   int           // of a file
	Written time.Time     // of a file
	Oldest  time.Duration // how old a file may be; 0: any age
	Stale   time.Duration // how long answers are used that were remembered
}

// Line tells of the directory.
func (d Directory) Line(now time.Time) Line {
	switch {
	case d.File == "" && d.Server == "":
		return ok("none is configured")
	case d.File != "":
		return d.file(now)
	case d.Err != nil:
		return wrong("look at the server, the account and the certificate that directory.ldap names; for "+fmt.Sprint(days(d.Stale))+" what is remembered is used, then mail is deferred where rules need to know people",
			"LDAP %s: %v", d.Server, d.Err)
	case d.None:
		return warn("correct directory.ldap.base, list_filter or attributes: cloakroom directory list shows who is found", "LDAP %s answers, and has no users below the base", d.Server)
	case d.Took > slowDirectory:
		return warn("look at the server, and whether it has an index for the attributes in directory.ldap.filter", "LDAP %s: a lookup takes %s", d.Server, short(d.Took))
	}
	return ok("LDAP %s: a lookup takes %s", d.Server, short(d.Took))
}

func (d Directory) file(now time.Time) Line {
	age := now.Sub(d.Written)
	switch {
	case d.Err != nil:
		return wrong("correct the file; until then the daemon goes on with what it read before, and does not start anew", "%v", d.Err)
	case d.None:
		return warn("fill the file: rules that ask for groups or departments apply to nobody", "%s has no users", d.File)
	case d.Oldest > 0 && age > d.Oldest:
		return warn("look at what writes the file; then systemctl reload cloakroom", "%s has %d users, and was written %s ago", d.File, d.Users, days(age))
	}
	return ok("%s: %d users, written %s ago", d.File, d.Users, days(max(0, age)))
}
