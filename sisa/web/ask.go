package web

// The pages that ask a visitor who they are. They tell nothing about the link
// but that it asks.

import (
	"html/template"
	"net/http"
	"strings"
)

// question is a page with one field: the texts ask_QUESTION_….
type question string

const (
	questionAddress  question = "address"
	questionCode     question = "code"
	questionPassword question = "password"
)

type askPage struct {
	frame
	Question question
	Heading  string
	Text     []template.HTML
	Label    string
	Button   string
	Wrong    string // what was wrong with the last answer
	Address  string // that the code was asked for
}

// ask answers with a question. wrong is the key of a text, or "".
func (s *Site) ask(x *exchange, status int, q question, wrong, address string) {
	t, key := x.texts, "ask_"+string(q)
	heading := t.Say(key + "_heading")
	page := askPage{
		frame:    s.frame(x, heading),
		Question: q,
		Heading:  heading,
		Label:    t.Say(key + "_label"),
		Button:   t.Say(key + "_button"),
		Address:  address,
	}
	if wrong != "" {
		page.Wrong = t.Say(wrong)
	}
	text, err := t.Markup(key+"_text", "address", template.HTML("<bdi>"+template.HTMLEscapeString(address)+"</bdi>"))
	for line := range strings.Lines(string(text)) {
		page.Text = append(page.Text, template.HTML(line)) // Markup escaped it
	}
	var content []byte
	if err == nil {
		content, err = render("ask.html", page)
	}
	if err != nil {
		s.fail(x, http.StatusInternalServerError, err)
		return
	}
	x.html(status, content)
}
