package milter

// What is inside the packets an MTA sends, as far as go-milter does not tell.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	gomilter "github.com/emersion/go-milter"
)

// Commands and answers that go-milter has no names for.
const (
	codeUnknown gomilter.Code = 'U' // SMFIC_UNKNOWN: an SMTP command the MTA does not know

	respProgress byte = 'p' // SMFIR_PROGRESS
	respReply    byte = 'y' // SMFIR_REPLYCODE
	respReplBody byte = 'b' // SMFIR_REPLBODY

	respAddRcpt     byte = '+' // SMFIR_ADDRCPT
	respAddRcptArgs byte = '2' // SMFIR_ADDRCPT_PAR
	respDelRcpt     byte = '-' // SMFIR_DELRCPT
	respChangeFrom  byte = 'e' // SMFIR_CHGFROM
	respQuarantine  byte = 'q' // SMFIR_QUARANTINE
)

// packetHead is the bytes before a packet's payload: length (4) and code.
const packetHead = 5

// MacroProbe is the macro that marks a message as a probe at MAIL, with any value:
// see flow.Envelope. No MTA sends it; `cloakroom doctor` does.
const MacroProbe = "cloakroom_probe"

// Macros that are made use of, by Sendmail's names.
const (
	macroQueueID = "i"
	macroLogin   = "auth_authen"
	macroDaemon  = "daemon_name"
	macroTLS     = "tls_version"
	macroMailer  = "rcpt_mailer" // "error" for a recipient the MTA refuses
	macroVersion = "v"           // the MTA's name and version
	macroProbe   = MacroProbe
)

// protocolVersion is the highest we speak: that of libmilter 8.14 and later.
const protocolVersion = 6

// What we ask for where the MTA offers it. An answer per header field, body
// chunk or envelope command would cost a round trip each; all we have to say is
// said at the end of the header and of the message, and to RCPT if the handler
// is a RecipientChecker.
const (
	wantActions = gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptChangeBody |
		gomilter.OptAddRcpt | gomilter.OptAddRcptWithArgs | gomilter.OptRemoveRcpt | gomilter.OptChangeFrom |
		gomilter.OptQuarantine
	wantProtocol = gomilter.OptNoUnknown | gomilter.OptNoData | gomilter.OptHeaderLeadingSpace |
		gomilter.OptNoConnReply | gomilter.OptNoHeloReply | gomilter.OptNoMailReply |
		gomilter.OptNoRcptReply | gomilter.OptNoDataReply | gomilter.OptNoUnknownReply |
		gomilter.OptNoHeaderReply | gomilter.OptNoBodyReply
)

// options are what MTA and milter agreed on.
type options struct {
	version  uint32
	actions  gomilter.OptAction
	protocol gomilter.OptProtocol
}

func (o options) may(a gomilter.OptAction) bool      { return o.actions&a == a }
func (o options) agreed(p gomilter.OptProtocol) bool { return o.protocol&p == p }

// negotiate reads the MTA's offer (SMFIC_OPTNEG) and takes from it what we want.
func negotiate(offer []byte, want gomilter.OptProtocol) (options, error) {
	if len(offer) < 12 {
		return options{}, fmt.Errorf("option negotiation of %d bytes, 12 expected", len(offer))
	}
	version := binary.BigEndian.Uint32(offer)
	if version < 2 {
		return options{}, fmt.Errorf("milter protocol version %d, at least 2 needed", version)
	}
	return options{
		version:  min(version, protocolVersion),
		actions:  wantActions & gomilter.OptAction(binary.BigEndian.Uint32(offer[4:])),
		protocol: want & gomilter.OptProtocol(binary.BigEndian.Uint32(offer[8:])),
	}, nil
}

// payload is the answer to SMFIC_OPTNEG.
func (o options) payload() []byte {
	b := binary.BigEndian.AppendUint32(nil, o.version)
	b = binary.BigEndian.AppendUint32(b, uint32(o.actions))
	return binary.BigEndian.AppendUint32(b, uint32(o.protocol))
}

// splitStrings reads NUL-terminated strings.
func splitStrings(data []byte) ([]string, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if data[len(data)-1] != 0 {
		return nil, errors.New("unterminated string")
	}
	return strings.Split(string(data[:len(data)-1]), "\x00"), nil
}

// parseMacros reads SMFIC_MACRO: the command the macros belong to, then names
// and values. Names lose their braces, which long names have and short may have.
// Only what an envelope has a use for is kept.
func parseMacros(data []byte) (stage gomilter.Code, macros map[string]string, err error) {
	if len(data) == 0 {
		return 0, nil, errors.New("macro packet without a command")
	}
	list, err := splitStrings(data[1:])
	if err != nil {
		return 0, nil, fmt.Errorf("macro packet: %w", err)
	}
	macros = make(map[string]string)
	for i := 0; i+1 < len(list); i += 2 {
		switch name := strings.TrimSuffix(strings.TrimPrefix(list[i], "{"), "}"); name {
		case macroQueueID, macroLogin, macroDaemon, macroTLS, macroMailer, macroVersion, macroProbe:
			if len(list[i+1]) > maxMacro {
				return 0, nil, fmt.Errorf("macro %s of %d bytes, %d are allowed", name, len(list[i+1]), maxMacro)
			}
			macros[strings.Clone(name)] = strings.Clone(list[i+1]) // the packet itself may be long
		}
	}
	return gomilter.Code(data[0]), macros, nil
}

// hasMacros tells the commands whose macros are made use of.
func hasMacros(c gomilter.Code) bool {
	switch c {
	case gomilter.CodeConn, gomilter.CodeHelo, gomilter.CodeMail, gomilter.CodeRcpt,
		gomilter.CodeData, gomilter.CodeEOH, gomilter.CodeEOB:
		return true
	}
	return false
}

// parsePath reads the arguments of MAIL or RCPT: the path as it came, the
// address in it (without angle brackets, otherwise untouched), and the ESMTP
// parameters.
func parsePath(data []byte) (path, address string, args []string, err error) {
	list, err := splitStrings(data)
	if err != nil {
		return "", "", nil, fmt.Errorf("envelope address: %w", err)
	}
	if len(list) == 0 {
		return "", "", nil, errors.New("envelope command without an address")
	}
	path, address = list[0], list[0]
	if n := len(address); n >= 2 && address[0] == '<' && address[n-1] == '>' {
		address = address[1 : n-1]
	}
	for _, a := range list[1:] {
		if a != "" {
			args = append(args, a)
		}
	}
	return path, address, args, nil
}

// peer is the SMTP client as SMFIC_CONNECT tells of it.
type peer struct {
	name string
	addr netip.Addr // invalid for local submission without one
	port uint16     // 0 when the MTA does not know one
}

// parseConnect reads SMFIC_CONNECT.
func parseConnect(data []byte) (peer, error) {
	name, rest, ok := bytes.Cut(data, []byte{0})
	if !ok || len(rest) == 0 {
		return peer{}, errors.New("malformed connect packet")
	}
	p := peer{name: string(name)}
	family := gomilter.ProtoFamily(rest[0])
	if family != gomilter.FamilyInet && family != gomilter.FamilyInet6 {
		return p, nil
	}
	if len(rest) < 3 {
		return peer{}, errors.New("connect packet without a port")
	}
	p.port = binary.BigEndian.Uint16(rest[1:])
	text, _, _ := bytes.Cut(rest[3:], []byte{0})
	// Sendmail writes IPv6 addresses as RFC 5321 section 4.1.3 does.
	literal := string(text)
	if len(literal) > 5 && strings.EqualFold(literal[:5], "IPv6:") {
		literal = literal[5:]
	}
	addr, err := netip.ParseAddr(literal)
	if err != nil {
		return peer{}, fmt.Errorf("connect packet: %w", err)
	}
	p.addr = addr.Unmap()
	return p, nil
}
