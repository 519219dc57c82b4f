package testserver

// Chromium, to see pages as people do.

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// unpackedChromium is where Debian's package has the program.
const unpackedChromium = "usr/lib/chromium/chromium"

// FindChromium gives Chromium and the environment it needs: the installed one,
// or what deploy/setup/chromium.sh unpacked.
func FindChromium() (program string, env []string, err error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil, nil
		}
	}
	cache := os.Getenv("CLOAKROOM_CACHE")
	if cache == "" && os.Geteuid() == 0 {
		cache = "/var/cache/cloakroom-test"
	} else if cache == "" {
		if user, err := os.UserCacheDir(); err == nil {
			cache = filepath.Join(user, "cloakroom-test")
		}
	}
	root := filepath.Join(cache, "chromium")
	list, err := os.ReadFile(filepath.Join(root, "libraries"))
	if err != nil {
		return "", nil, errors.New("no Chromium is installed or unpacked: run deploy/setup/chromium.sh")
	}
	var libraries []string
	for _, folder := range strings.Fields(string(list)) {
		libraries = append(libraries, filepath.Join(root, folder))
	}
	return filepath.Join(root, unpackedChromium), []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":"),
		"FONTCONFIG_PATH=" + root + "/etc/fonts", "XDG_DATA_HOME=" + root + "/usr/share"}, nil
}
