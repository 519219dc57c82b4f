package web

// The HTTP server around a Site, and every timeout in one place.

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// A phone on a bad line sends its few hundred bytes of header well within
	// this; what takes longer is holding connections open on purpose. With TLS it
	// bounds the handshake too.
	readHeaderTimeout = 10 * time.Second
	// The whole request: our largest is a form of a few bytes.
	readTimeout = 30 * time.Second
	// A page of some 10 KB to a very slow client. Downloads extend it.
	writeTimeout = 60 * time.Second
	// How long a download may stand still. See answer.pace.
	stallTimeout = 60 * time.Second
	// Between requests of one connection; longer than proxies keep theirs (nginx: 60 s),
	// so that it is they who close and no request meets a closing connection.
	idleTimeout = 90 * time.Second
	// How long a press of the button waits for the record of it.
	recordTimeout = 3 * time.Second
	// The same where downloads are limited: without the record there is none.
	countTimeout = 20 * time.Second

	maxHeaderBytes = 16 << 10 // bytes; nginx takes at most 8 KB per line
	maxFormBytes   = 4 << 10  // bytes; the form's fields have a few hundred at most
	maxAgentBytes  = 256      // bytes of User-Agent that are recorded

	// unsentBytes bounds what the kernel holds for a slow client before it is
	// sent. Without it a send buffer of megabytes fills at once, and then takes a
	// third to drain before the next write moves: for a slow client longer than
	// stallTimeout, though it reads steadily.
	unsentBytes = 128 << 10
)

// NewServer gives a server for a Site, without an address: the caller listens,
// and hands the listener to Serve. Without tls in the configuration TLS and
// HTTP/2 are left to the proxy in front.
func NewServer(site *Site, log *slog.Logger) *http.Server {
	server := &http.Server{
		Handler:           site,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(calmHandler{log.Handler()}, slog.LevelWarn),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if err := limitUnsent(conn); err != nil {
				log.Debug("web: send buffer left as it is", "error", err)
			}
			return ctx
		},
	}
	if site.certificate != nil {
		server.TLSConfig = site.certificate.Config()
	}
	return server
}

// Serve runs a server of NewServer on a listener, with TLS where it has a
// certificate. It returns as http.Server.Serve does.
func Serve(server *http.Server, listener net.Listener) error {
	if server.TLSConfig != nil {
		return server.ServeTLS(listener, "", "")
	}
	return server.Serve(listener)
}

// calmHandler lowers what anyone can cause at will: scanners that try old
// protocols at a public port are no warning.
type calmHandler struct{ slog.Handler }

func (h calmHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "http: TLS handshake error") {
		if r.Level = slog.LevelDebug; !h.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}
