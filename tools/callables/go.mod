module github.com/modelwarden/warden/tools/callables

go 1.26.0

require github.com/modelwarden/warden v0.0.0

require golang.org/x/text v0.43.0 // indirect

replace github.com/modelwarden/warden => ../..
