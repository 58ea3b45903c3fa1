// Package nn holds modules: plain structs whose fields are parameters, buffers and other modules.
package nn
