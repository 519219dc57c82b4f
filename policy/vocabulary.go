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

// Names of the variables that are objects or change while one mail is decided.
const (
	recipientName  = "recipient"
	directionName  = "direction"
	attachmentName = "attachment"
	senderName     = "sender"
	authName       = "auth"
	// fromGatewayName is a fact that a header field may still change.
	fromGatewayName = "from_gateway"
	// ownerName is a user for whom a copy is kept, in rules about the vault.
	ownerName = "owner"
)

// objectTypes are the variables with fields, and the CEL type of each.
var objectTypes = map[string]string{
	recipientName: personType, senderName: personType, ownerName: personType,
	attachmentName: "attachment", authName: "authentication",
}

const personType = "person"

var stringList = cel.ListType(cel.StringType)

// stage is how much of a mail is known.
type stage uint8

const (
	atRecipient stage = iota // the envelope up to one recipient
	atHeader                 // the whole envelope and the header
	atEnd                    // everything
)

type mailFact struct {
	name  string
	typ   *cel.Type
	known stage // from when on
	doc   string
	get   func(*Facts) ref.Val
}

// mailFacts are the variables that are the same for every recipient and part.
var mailFacts = []mailFact{
	{"from", cel.StringType, atRecipient, "MAIL FROM without angle brackets; empty for the null sender (bounces)",
		func(f *Facts) ref.Val { return types.String(f.From) }},
	{"to", stringList, atHeader, "every RCPT TO of the mail, without angle brackets",
		func(f *Facts) ref.Val { return listOf(f.To) }},
	{"authenticated", cel.BoolType, atRecipient, "whether the client authenticated (SMTP AUTH)",
		func(f *Facts) ref.Val { return types.Bool(f.User != "") }},
	{"user", cel.StringType, atRecipient, "the authenticated user; empty without authentication",
		func(f *Facts) ref.Val { return types.String(f.User) }},
	{"client", cel.StringType, atRecipient, "IP address of the SMTP client; empty when there is none",
		func(f *Facts) ref.Val {
			if !f.Client.IsValid() {
				return types.String("")
			}
			return types.String(f.Client.Unmap().String())
		}},
	{"helo", cel.StringType, atRecipient, "what the client said in HELO or EHLO",
		func(f *Facts) ref.Val { return types.String(f.Helo) }},
	{"host", cel.StringType, atRecipient, "the client's host name as the MTA knows it",
		func(f *Facts) ref.Val { return types.String(f.Host) }},
	{"daemon", cel.StringType, atRecipient, "the MTA's name for the service the mail came in by",
		func(f *Facts) ref.Val { return types.String(f.Daemon) }},
	{"tls", cel.StringType, atRecipient, "TLS version of the client's connection; empty without TLS",
		func(f *Facts) ref.Val { return types.String(f.TLS) }},
	{fromGatewayName, cel.BoolType, atRecipient, "whether the mail came by a verified gateway of a co-existing system",
		func(f *Facts) ref.Val { return types.Bool(f.FromGateway) }},
	{"subject", cel.StringType, atHeader, "the decoded Subject",
		func(f *Facts) ref.Val { return types.String(f.Subject) }},
	{"header_from", cel.StringType, atHeader, "address in the From: field, which people see (the first of several); from is that of the envelope",
		func(f *Facts) ref.Val {
			for _, address := range f.addresses("From") {
				return types.String(address)
			}
			return types.String("")
		}},
	{"header_to", stringList, atHeader, "addresses in the To: field",
		func(f *Facts) ref.Val { return listOf(f.addresses("To")) }},
	{"header_cc", stringList, atHeader, "addresses in the Cc: field",
		func(f *Facts) ref.Val { return listOf(f.addresses("Cc")) }},
	{"size", cel.IntType, atEnd, "bytes of the whole message",
		func(f *Facts) ref.Val {
			if f.Size < 0 {
				return types.NewUnknown(0, nil)
			}
			return types.Int(f.Size)
		}},
	{"time", cel.TimestampType, atRecipient, "when MAIL FROM came; time.getHours() and its like count in UTC unless given a zone",
		func(f *Facts) ref.Val { return types.Timestamp{Time: f.Time} }},
}

func (f *Facts) addresses(field string) []string {
	if f.RawHeader == nil {
		return nil
	}
	return Addresses(f.RawHeader(field))
}

type authFact struct {
	name string
	doc  string
	get  func(*AuthResults) string
}

// authFacts are the fields of auth.
var authFacts = [...]authFact{
	{"spf", "SPF result of a trusted verifier: pass, fail, softfail, neutral, none, temperror or permerror; empty when none told one",
		func(a *AuthResults) string { return a.SPF }},
	{"dkim", "DKIM result of a trusted verifier, pass when any signature passes; empty when none told one",
		func(a *AuthResults) string { return a.DKIM }},
	{"dmarc", "DMARC result of a trusted verifier: pass, fail, none, temperror or permerror; empty when none told one",
		func(a *AuthResults) string { return a.DMARC }},
}

type personFact struct {
	name string
	typ  *cel.Type
	doc  string
	get  func(*User) ref.Val
}

// personFacts are the fields of recipient and sender.
var personFacts = [...]personFact{
	{"address", cel.StringType, "the address as in the envelope, without angle brackets",
		func(u *User) ref.Val { return types.String(u.Address) }},
	{"local", cel.StringType, "what stands before the @ of that address",
		func(u *User) ref.Val { return types.String(u.Local) }},
	{"domain", cel.StringType, "its domain in lower case, internationalised names in ASCII form",
		func(u *User) ref.Val { return types.String(u.Domain) }},
	{"groups", stringList, "groups in the directory; none for who is not in it",
		func(u *User) ref.Val { return listOf(u.Groups) }},
	{"department", cel.StringType, "department in the directory",
		func(u *User) ref.Val { return types.String(u.Department) }},
	{"system", cel.StringType, "the co-existing system that has the mailbox; empty when it is here",
		func(u *User) ref.Val { return types.String(u.System) }},
}

// The persons, for documents.
const (
	recipientDoc = "of the recipient being decided: "
	senderDoc    = "of the sender, when a user of ours, else empty: "
	directionDoc = "of the mail for the recipient being decided: inbound, outbound, local or relay"
)

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
	{"encrypted", cel.BoolType, "whether it needs a password, as far as its headers tell: zip, 7z, RAR, Office and PDF files (PDF also where only printing or copying does); not OpenDocument, nor what is packed in another archive",
		inside(func(i Inside) ref.Val { return types.Bool(i.Encrypted) })},
	{"inner_names", stringList, "names of the files in a zip, without folders, in every way a reader might take them; none for other archives; not what lies in an archive inside",
		inside(func(i Inside) ref.Val { return listOf(i.Names) })},
	{"inner_complete", cel.BoolType, "whether inner_names has all there is: false for other archives, and for a zip that is damaged, hides its names or has thousands; " +
		"a rule that refuses by inner_names refuses what is not complete too, or lets it pass knowingly",
		inside(func(i Inside) ref.Val { return types.Bool(i.Complete) })},
}

// inside is a fact that takes a look into the attachment. Where that fails, so
// does the condition.
func inside(get func(Inside) ref.Val) func(*Attachment) ref.Val {
	return func(a *Attachment) ref.Val {
		known, err := a.inside()
		if err != nil {
			return types.WrapErr(err)
		}
		return get(known)
	}
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
	for _, f := range authFacts {
		add(authName+"."+f.name, cel.FormatCELType(cel.StringType), f.doc)
	}
	for _, f := range personFacts {
		add(senderName+"."+f.name, cel.FormatCELType(f.typ), senderDoc+f.doc)
	}
	for _, f := range personFacts {
		add(recipientName+"."+f.name, cel.FormatCELType(f.typ), recipientDoc+f.doc)
	}
	add(directionName, cel.FormatCELType(cel.StringType), directionDoc)
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
	return append(out, authName, senderName, recipientName, directionName, attachmentName)
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

// fieldNames lists the fields of a variable that is an object; nil for others.
func fieldNames(variable string) []string {
	var out []string
	switch objectTypes[variable] {
	case personType:
		for _, f := range personFacts {
			out = append(out, f.name)
		}
	case objectTypes[attachmentName]:
		for _, f := range attachmentFacts {
			out = append(out, f.name)
		}
	case objectTypes[authName]:
		for _, f := range authFacts {
			out = append(out, f.name)
		}
	}
	return out
}

func listOf(values []string) ref.Val {
	return types.NewStringList(types.DefaultTypeAdapter, values)
}
