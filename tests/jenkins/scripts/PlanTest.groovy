import org.envmatrix.Plan

String id(int number) {
    String.format('%064x', number).reverse()
}

Map job(int number, String stage, Map others = [:]) {
    [id: id(number), name: "job $number".toString(), stage: stage, prospect: 'to do', needs: [], runner: 'x86_64', minutes: 5] + others
}

String plan(List jobs) {
    groovy.json.JsonOutput.toJson([jobs: jobs, runners: [x86_64: [jenkins: 'linux', gpus: 0]]])
}

void saveAndLoad(Object value) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream()
    new ObjectOutputStream(bytes).writeObject(value)
    assert new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray())).readObject() == value
}

// Only jobs of the stage that are left to do, in batches, as values that can be saved.
List jobs = (1..1200).collect { job(it, 'test') } + [job(2000, 'compile'), job(2001, 'test', [prospect: 'reused'])]
List batches = Plan.batches(plan(jobs), 'test')
assert batches*.size() == [200] * 6
assert batches.flatten()*.id == (1..1200).collect { id(it) }
assert batches.every { it.getClass() == ArrayList && it.every { row -> row.getClass() == LinkedHashMap } }
saveAndLoad(batches)
assert Plan.batches(plan([]), 'test') == []

// The files of needs that ran; of compile jobs also their outputs.
jobs = [
    job(1, 'images'),
    job(2, 'compile', [needs: [id(1)]]),
    job(3, 'compile', [prospect: 'reused']),
    job(4, 'test', [needs: [id(1), id(2), id(3)]]),
]
Map row = Plan.batches(plan(jobs), 'test')[0][0]
assert row.inputs == ['result-' + id(1).take(12), 'result-' + id(2).take(12), 'output-' + id(2).take(12)]
assert row.title == 'job 4 ' + id(4).take(12)
assert row.files == 'build/ci/jobs/' + id(4) + '/**'
assert Plan.results(plan(jobs)) == [1, 2, 4].collect { 'result-' + id(it).take(12) }
saveAndLoad(Plan.results(plan(jobs)))

// Another node.
assert Plan.elsewhere('', 'one') == '!"one"'
assert Plan.elsewhere('linux || arm', 'one') == '(linux || arm) && !"one"'
assert Plan.elsewhere('linux', 'a "b" \\') == '(linux) && !"a \\"b\\" \\\\"'
assert Plan.elsewhere('pod: ci/pod.yaml', 'one') == 'pod: ci/pod.yaml'

println('passed')
