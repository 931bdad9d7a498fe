;; A preview2 command that ends well at once.
(component
  (core module $code (func (export "run") (result i32) (i32.const 0)))
  (core instance $made (instantiate $code))
  (func $run (result (result)) (canon lift (core func $made "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
