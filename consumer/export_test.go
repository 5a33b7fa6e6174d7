package consumer

// RecordOverhead is what room takes a record to need beside its bytes.
const RecordOverhead = recordOverhead
