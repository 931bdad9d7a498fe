;; Asks for more memory and a larger table than there is, for ever.
(module
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (func (export "_start")
    (loop $for_ever
      (drop (memory.grow (i32.const 16)))
      (drop (table.grow $table (ref.null func) (i32.const 1000)))
      (br $for_ever))))
