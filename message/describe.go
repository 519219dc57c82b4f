package message

import "strings"

// describe fills in what the header of p says about its content (RFC 2045
// section 5 and 6, RFC 2183). The reason is not empty when readers may take
// the header in different ways.
func (p *Part) describe() (reason string) {
	ct := p.Header.Values("Content-Type")
	cd := p.Header.Values("Content-Disposition")
	ce := p.Header.Values("Content-Transfer-Encoding")
	switch {
	case len(ct) > 1:
		reason = "duplicate Content-Type"
	case len(ce) > 1:
		reason = "duplicate Content-Transfer-Encoding"
	case len(cd) > 1:
		reason = "duplicate Content-Disposition"
	}
	if len(ct) > 0 {
		p.Type = ParseValue(ct[0])
	}
	if !strings.Contains(p.Type.Text, "/") {
		// RFC 2045 section 5.2: what is absent or unreadable is plain text.
		p.Type.Text = "text/plain"
		if len(ct) == 0 && p.Parent != nil && p.Parent.Type.Text == "multipart/digest" {
			p.Type.Text = "message/rfc822"
		}
	}
	if len(cd) > 0 {
		p.Disposition = ParseValue(cd[0])
	}
	for _, d := range append(p.Type.Defects[:len(p.Type.Defects):len(p.Type.Defects)], p.Disposition.Defects...) {
		if d == defectTooMany || d == defectTooLong {
			reason = d
		}
	}
	p.Encoding = "7bit"
	if len(ce) > 0 {
		if v := ParseValue(ce[0]).Text; v != "" {
			p.Encoding = v
		}
	}
	p.ContentID = strings.Trim(p.Header.Get("Content-Id"), "<> \t")
	p.Name, p.Names = FileNames(p.Disposition, p.Type)
	return reason
}
