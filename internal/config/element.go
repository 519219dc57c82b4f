package config

// What elements of lists and named sections begin with, before their keys are read.

import (
	"reflect"

	"cloakroom/vault"
	"cloakroom/vault/dir"
	"cloakroom/vault/ftps"
	"cloakroom/vault/sftp"
)

// newElement makes a value with its defaults; known tells that it has some.
func newElement(t reflect.Type) (v reflect.Value, known bool) {
	v = reflect.New(t).Elem()
	var start any
	switch t {
	case reflect.TypeFor[VaultTarget]():
		start = VaultTarget{TargetConfig: vault.DefaultTarget()}
	case reflect.TypeFor[sftp.Config]():
		start = sftp.DefaultConfig()
	case reflect.TypeFor[ftps.Config]():
		start = ftps.DefaultConfig()
	case reflect.TypeFor[dir.Config]():
		start = dir.DefaultConfig()
	default:
		return v, false
	}
	v.Set(reflect.ValueOf(start))
	return v, true
}
