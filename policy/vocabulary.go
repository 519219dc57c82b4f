package policy

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Fact is one name rules may use, for documents generated from this table.
type Fact struct {
	Name string // as written in an expression; functions with their arguments
	Type string // CEL type; for functions that of the result
	Doc  string
}

// Names of the three variables that change while one mail is decided, and of
// the object types behind two of them.
const (
	recipientName  = "recipient"
	directionName  = "direction"
	attachmentName = "attachment"
)

var stringList = cel.ListType(cel.StringType)

type mailFact struct {
	name string
	typ  *cel.Type
	doc  string
	get  func(*Facts) ref.Val
}

// mailFacts are the variables that are the same for every recipient and part.
var mailFacts = []mailFact{
	{"from", cel.StringType, "MAIL FROM without angle brackets; empty for the null sender (bounces)",
		func(f *Facts) ref.Val { return types.String(f.From) }},
	{"to", stringList, "every RCPT TO of the mail, without angle brackets",
		func(f *Facts) ref.Val { return listOf(f.To) }},
	{"authenticated", cel.BoolType, "whether the client authenticated (SMTP AUTH)",
		func(f *Facts) ref.Val { return types.Bool(f.User != "") }},
	{"user", cel.StringType, "the authenticated user; empty without authentication",
		func(f *Facts) ref.Val { return types.String(f.User) }},
	{"client", cel.StringType, "IP address of the SMTP client; empty when there is none",
		func(f *Facts) ref.Val {
			if !f.Client.IsValid() {
				return types.String("")
			}
			return types.String(f.Client.Unmap().String())
		}},
	{"helo", cel.StringType, "what the client said in HELO or EHLO",
		func(f *Facts) ref.Val { return types.String(f.Helo) }},
	{"host", cel.StringType, "the client's host name as the MTA knows it",
		func(f *Facts) ref.Val { return types.String(f.Host) }},
	{"daemon", cel.StringType, "the MTA's name for the service the mail came in by",
		func(f *Facts) ref.Val { return types.String(f.Daemon) }},
	{"tls", cel.StringType, "TLS version of the client's connection; empty without TLS",
		func(f *Facts) ref.Val { return types.String(f.TLS) }},
	{"subject", cel.StringType, "the decoded Subject",
		func(f *Facts) ref.Val { return types.String(f.Subject) }},
	{"size", cel.IntType, "bytes of the whole message",
		func(f *Facts) ref.Val {
			if f.Size < 0 {
				return types.NewUnknown(0, nil)
			}
			return types.Int(f.Size)
		}},
	{"time", cel.TimestampType, "when MAIL FROM came; time.getHours() and its like count in UTC unless given a zone",
		func(f *Facts) ref.Val { return types.Timestamp{Time: f.Time} }},
}

type recipientFact struct {
	name string
	typ  *cel.Type
	doc  string
	get  func(*Recipient) ref.Val
}

// recipientFacts are the fields of recipient; the last one is the variable direction.
var recipientFacts = [...]recipientFact{
	{"address", cel.StringType, "the recipient being decided, as in RCPT TO, without angle brackets",
		func(r *Recipient) ref.Val { return types.String(r.Address) }},
	{"local", cel.StringType, "what stands before the @ of that address",
		func(r *Recipient) ref.Val { return types.String(r.Local) }},
	{"domain", cel.StringType, "its domain in lower case, internationalised names in ASCII form",
		func(r *Recipient) ref.Val { return types.String(r.Domain) }},
	{directionName, cel.StringType, "of the recipient being decided: inbound, outbound, local or relay",
		func(r *Recipient) ref.Val { return types.String(r.Direction) }},
}

const directionField = len(recipientFacts) - 1

type attachmentFact struct {
	name string
	typ  *cel.Type
	doc  string
	get  func(*Attachment) ref.Val
}

// attachmentFacts are the fields of attachment.
var attachmentFacts = [...]attachmentFact{
	{"name", cel.StringType, "file name as shown to people; empty when the part names none",
		func(a *Attachment) ref.Val { return types.String(a.Name) }},
	{"names", stringList, "every file name any mail reader might pick; use it to keep or refuse by name",
		func(a *Attachment) ref.Val { return listOf(a.Names) }},
	{"extension", cel.StringType, "extension of the name in lower case, without the dot",
		func(a *Attachment) ref.Val { return types.String(strings.ToLower(a.Extension)) }},
	{"type", cel.StringType, "media type the mail declares, in lower case",
		func(a *Attachment) ref.Val { return types.String(strings.ToLower(a.Type)) }},
	{"sniffed", cel.StringType, "media type told by the first bytes of the content",
		func(a *Attachment) ref.Val { return types.String(strings.ToLower(a.Sniffed)) }},
	{"size", cel.IntType, "bytes of the decoded content",
		func(a *Attachment) ref.Val { return types.Int(a.Size) }},
	{"inline", cel.BoolType, "whether it is an image that the HTML body shows in place",
		func(a *Attachment) ref.Val { return types.Bool(a.Inline) }},
	{"disposition", cel.StringType, "Content-Disposition in lower case: attachment, inline or empty",
		func(a *Attachment) ref.Val { return types.String(strings.ToLower(a.Disposition)) }},
	{"sha256", cel.StringType, "SHA-256 of the decoded content, 64 hex digits in lower case",
		func(a *Attachment) ref.Val { return types.String(strings.ToLower(a.SHA256)) }},
}

type unit struct {
	name  string
	value int64
	doc   string
}

var units = []unit{
	{"KB", 1 << 10, "1,024 bytes: 500 * KB"},
	{"MB", 1 << 20, "1,024 KB: attachment.size > 5 * MB"},
	{"GB", 1 << 30, "1,024 MB"},
}

// Vocabulary lists everything an expression may name besides the operators,
// functions and macros that CEL itself defines.
func Vocabulary() []Fact {
	var out []Fact
	add := func(name, typ, doc string) { out = append(out, Fact{Name: name, Type: typ, Doc: doc}) }
	for _, f := range mailFacts {
		add(f.name, cel.FormatCELType(f.typ), f.doc)
	}
	for i, f := range recipientFacts {
		name := recipientName + "." + f.name
		if i == directionField {
			name = directionName
		}
		add(name, cel.FormatCELType(f.typ), f.doc)
	}
	for _, f := range attachmentFacts {
		add(attachmentName+"."+f.name, cel.FormatCELType(f.typ), f.doc)
	}
	for _, u := range units {
		add(u.name, cel.FormatCELType(cel.IntType), u.doc)
	}
	return append(out, functionDocs...)
}

// variableNames are the names an expression may begin with, for error messages.
func variableNames() []string {
	var out []string
	for _, f := range mailFacts {
		out = append(out, f.name)
	}
	return append(out, recipientName, directionName, attachmentName)
}

// functionNames are the functions of this vocabulary.
func functionNames() []string {
	var out []string
	for _, f := range functionDocs {
		name, _, _ := strings.Cut(f.Name, "(")
		out = append(out, name)
	}
	return out
}

func fieldNames(object string) []string {
	var out []string
	switch object {
	case recipientName:
		for _, f := range recipientFacts[:directionField] {
			out = append(out, f.name)
		}
	case attachmentName:
		for _, f := range attachmentFacts {
			out = append(out, f.name)
		}
	}
	return out
}

func listOf(values []string) ref.Val {
	return types.NewStringList(types.DefaultTypeAdapter, values)
}
