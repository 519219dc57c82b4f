package web

// What the sender of a mail hears when somebody fetches its files.

import (
	"strings"
	"time"
)

// maxReceiptName bounds a file's name in a subject line, in bytes.
const maxReceiptName = 120

// Receipt is the first download of some of a mail's files.
type Receipt struct {
	Files      []string
	Subject    string // of the mail
	Recipients []string
	At         time.Time
	Proven     string // see sisa.Download
}

// ReceiptText is a receipt in the default language of the pages: nobody knows
// the sender's.
func (s *Site) ReceiptText(r Receipt) (subject, text string) {
	t := s.catalog.languages[0]
	var list []string
	for _, name := range r.Files {
		list = append(list, cleanName(name))
	}
	files := t.Count("files", len(list))
	if len(list) == 1 {
		files = cutText(list[0], maxReceiptName)
	}
	who := cleanText(r.Proven)
	switch who {
	case "":
		who = t.Say("receipt_anyone")
	case provenPassword:
		who = t.Say("receipt_password")
	}
	subject = t.Say("receipt_subject", "files", files)
	text = t.Say("receipt_text", "list", strings.Join(list, "\n"), "date", t.momentOf(r.At, s.zone).Words, "who", who,
		"subject", cutText(cleanText(r.Subject), maxSubjectBytes), "recipients", cleanText(strings.Join(r.Recipients, ", ")))
	return subject, text
}
