/* A fake of Jenkins: it runs a Jenkinsfile with shared libraries, and has the steps that these use.
 *
 * `sh` really runs. Nodes are directories of this machine; branches of `parallel` overlap where steps
 * wait, as in Jenkins. It refuses what Jenkins refuses: unknown steps and parameters, steps without
 * their context, and values in variables that cannot be saved. It has no CPS transformation.
 *
 * Arguments: a file with the settings, see tests/jenkins.py, and a file for the report, both in JSON.
 */
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import groovy.transform.CompileStatic
import java.nio.file.FileSystems
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.Paths
import java.nio.file.StandardCopyOption
import java.util.concurrent.TimeUnit
import java.util.concurrent.locks.Condition
import java.util.concurrent.locks.ReentrantLock
import org.codehaus.groovy.ast.AnnotationNode
import org.codehaus.groovy.ast.ClassHelper
import org.codehaus.groovy.ast.ClassNode
import org.codehaus.groovy.ast.MethodNode
import org.codehaus.groovy.ast.expr.ArgumentListExpression
import org.codehaus.groovy.ast.expr.BinaryExpression
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.ConstantExpression
import org.codehaus.groovy.ast.expr.DeclarationExpression
import org.codehaus.groovy.ast.expr.EmptyExpression
import org.codehaus.groovy.ast.expr.Expression
import org.codehaus.groovy.ast.expr.StaticMethodCallExpression
import org.codehaus.groovy.ast.expr.VariableExpression
import org.codehaus.groovy.ast.ClassCodeExpressionTransformer
import org.codehaus.groovy.classgen.GeneratorContext
import org.codehaus.groovy.control.CompilePhase
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.SourceUnit
import org.codehaus.groovy.control.customizers.CompilationCustomizer
import org.codehaus.groovy.runtime.InvokerHelper

/** A step failed. */
class StepFailure extends RuntimeException {

    StepFailure(String message) {
        super(message)
    }

}

/** Somebody or a time limit ended steps; `isActual` is false once it left the step of the limit. */
class Interruption extends RuntimeException {

    boolean isActual = true
    final Object limit

    Interruption(String message, Object limit = null) {
        super(message)
        this.limit = limit
    }

}

/** A stage or a branch of `parallel`. */
class Scope {

    static final List ORDER = ['SUCCESS', 'SKIPPED', 'UNSTABLE', 'FAILURE', 'ABORTED']
    final String name
    final String kind
    final Scope parent
    final List<Scope> children = [].asSynchronized()
    final StringBuffer log = new StringBuffer()
    String state = 'SUCCESS'
    String node = ''

    Scope(String name, String kind, Scope parent) {
        this.name = name
        this.kind = kind
        this.parent = parent
        parent?.children?.add(this)
    }

    void mark(String other) {
        if (ORDER.indexOf(other) > ORDER.indexOf(state)) {
            state = other
        }
        parent?.mark(other)
    }

    void write(String text) {
        log << text
        if (parent) {
            parent.write(kind == 'branch' ? text.readLines().collect { "[$name] $it\n" }.join('') : text)
        }
    }

    Map report() {
        [name: name, kind: kind, state: state, node: node, log: log.toString(), parts: children*.report()]
    }

}

/** What surrounds a step. */
class Context {

    Map env = [:]
    Scope scope
    Map agent
    File workspace
    File directory
    List limits = []
    List secrets = []

    Context changed(Map changes) {
        Map values = [env: env, scope: scope, agent: agent, workspace: workspace, directory: directory,
            limits: limits, secrets: secrets]
        new Context(values + changes)
    }

}

/** Processes, by the types of Java alone: Groovy 2.4 may not see their classes. */
@CompileStatic
class Shell {

    static int run(File script, File directory, Map<String, String> env, Closure onText, Closure<Boolean> isOver) {
        File pid = new File(script.path + '.pid')
        String wrapper = 'echo $$ > "$1"; exec sh -xe "$2"'
        ProcessBuilder builder = new ProcessBuilder('setsid', '-w', 'sh', '-c', wrapper, 'sh', pid.path, script.path)
        builder.directory(directory).redirectErrorStream(true)
        builder.environment().clear()
        builder.environment().putAll(env)
        Process process = builder.start()
        process.outputStream.close()
        Thread reader = Thread.start {
            BufferedReader text = new BufferedReader(new InputStreamReader(process.inputStream, 'UTF-8'))
            String line = null
            while ((line = text.readLine()) != null) {
                onText.call(line + '\n')
            }
        }
        while (!process.waitFor(50, TimeUnit.MILLISECONDS)) {
            if (isOver.call()) {
                Process killer = new ProcessBuilder('kill', '-KILL', '--', '-' + pid.text.trim()).start()
                killer.waitFor()
                process.waitFor()
            }
        }
        reader.join(5000)
        return process.exitValue()
    }

    static String output(List<String> command, File directory) {
        Process process = new ProcessBuilder(command).directory(directory).redirectErrorStream(true).start()
        process.outputStream.close()
        String text = process.inputStream.getText('UTF-8')
        if (process.waitFor() != 0) {
            throw new StepFailure(command.join(' ') + ': ' + text)
        }
        return text
    }

}

/** Wraps what is assigned to variables of code that Jenkins would transform. */
class SavedVariables extends CompilationCustomizer {

    SavedVariables() {
        super(CompilePhase.SEMANTIC_ANALYSIS)
    }

    @Override
    void call(SourceUnit source, GeneratorContext context, ClassNode node) {
        new Rewriter(source).visitClass(node)
    }

    static class Rewriter extends ClassCodeExpressionTransformer {

        final SourceUnit source
        boolean isTransformed = true

        Rewriter(SourceUnit source) {
            this.source = source
        }

        @Override
        protected SourceUnit getSourceUnit() {
            source
        }

        @Override
        void visitMethod(MethodNode method) {
            isTransformed = !method.annotations.any { AnnotationNode it -> it.classNode.nameWithoutPackage == 'NonCPS' }
            super.visitMethod(method)
            isTransformed = true
        }

        @Override
        Expression transform(Expression expression) {
            if (expression instanceof ClosureExpression) {
                expression.code?.visit(this)
                return expression
            }
            if (isTransformed && expression instanceof BinaryExpression && expression.operation.text == '=' &&
                    expression.leftExpression instanceof VariableExpression &&
                    !(expression.rightExpression instanceof EmptyExpression)) {
                String place = "${expression.leftExpression.name} (line ${expression.lineNumber})"
                Expression value = transform(expression.rightExpression)
                List<Expression> words = [value, new ConstantExpression(place)]
                expression.rightExpression = new StaticMethodCallExpression(
                    ClassHelper.make(Saved), 'checked', new ArgumentListExpression(words))
                return expression
            }
            expression == null ? null : super.transform(expression)
        }

    }

}

/** Asks whether values can be saved. */
class Saved {

    static Object checked(Object value, String place) {
        String type = unsaved(value, 0)
        if (type) {
            throw new NotSerializableException("$type in $place")
        }
        value
    }

    /** Return the name of a type in a value that Java does not serialize; null if there is none. */
    static String unsaved(Object value, int depth) {
        if (value == null || depth > 8 || value instanceof Closure || value instanceof Script ||
                value instanceof Class || value instanceof EnvVariables) {
            return null
        }
        if (!(value instanceof Serializable)) {
            return value.getClass().name
        }
        if (value.getClass().name.contains('LazyMap')) {
            return value.getClass().name
        }
        if (value instanceof Map) {
            return value.collect { key, item -> unsaved(key, depth + 1) ?: unsaved(item, depth + 1) }.find { it }
        }
        if (value instanceof Iterable && value instanceof Collection) {
            return value.collect { unsaved(it, depth + 1) }.find { it }
        }
        null
    }

    static void checkClosure(Closure body) {
        for (field in body.getClass().declaredFields) {
            if (!field.synthetic || field.type == Reference) {
                field.accessible = true
                Object value = java.lang.reflect.Modifier.isStatic(field.modifiers) ? null : field.get(body)
                checked(value instanceof Reference ? value.get() : value, "the variable ${field.name} of a block")
            }
        }
    }

}

/** `env`: the variables that surround the code. */
class EnvVariables {

    Object getProperty(String name) {
        FakeJenkins.now.context.env[name]
    }

    void setProperty(String name, Object value) {
        FakeJenkins.now.globals[name] = value.toString()
    }

}

/** The base of Jenkinsfiles and of the variables of libraries. */
abstract class StepScript extends Script {

    Object methodMissing(String name, Object words) {
        FakeJenkins.now.call(name, words as List)
    }

    Object propertyMissing(String name) {
        FakeJenkins.now.global(name)
    }

    Object getProperty(String name) {
        name in ['binding', 'metaClass', 'class'] || super.binding.hasVariable(name) ?
            super.getProperty(name) : FakeJenkins.now.global(name)
    }

}

/** A block of declarative syntax: it keeps what it is told. */
class Section {

    final String name
    final List<List> entries = []
    private static final List WORDS = ['none', 'any']

    Section(String name, Closure body) {
        this.name = name
        Closure own = body.rehydrate(this, body.owner, body.thisObject)
        own.resolveStrategy = Closure.DELEGATE_FIRST
        own.call()
    }

    Object invokeMethod(String word, Object values) {
        entries << [word, values as List]
        null
    }

    Object getProperty(String word) {
        word in WORDS ? word : word in ['name', 'entries'] ? this.@"$word" : FakeJenkins.now.global(word)
    }

    void setProperty(String word, Object value) {
        entries << [word, [value]]
    }

    List all(String word) {
        entries.findAll { it[0] == word }.collect { it[1] }
    }

    Object one(String word) {
        List values = all(word)
        if (values.size() > 1) {
            throw new StepFailure("Multiple occurrences of the $word section")
        }
        values ? values[0][-1] : null
    }

    void allow(Collection words) {
        entries.each { if (!(it[0] in words)) { throw new StepFailure("Undefined section \"${it[0]}\" in $name") } }
    }

}
/** The controller, and the steps. */
class FakeJenkins {

    static final Set NEEDS_NODE = ['sh', 'stash', 'unstash', 'archiveArtifacts', 'junit', 'readFile', 'writeFile',
        'fileExists', 'dir', 'deleteDir', 'checkout', 'recordIssues', 'pwd', 'isUnix'] as Set
    // The parameters of each step; the first is the one without a name.
    static final Map STEPS = [
        sh: ['script', 'returnStatus', 'returnStdout', 'label', 'encoding'],
        echo: ['message'],
        error: ['message'],
        node: ['label'],
        stage: ['name'],
        parallel: null,
        script: [],
        timeout: ['time', 'unit', 'activity'],
        retry: ['count', 'conditions'],
        sleep: ['time', 'unit'],
        catchError: ['message', 'buildResult', 'stageResult', 'catchInterruptions'],
        warnError: ['message', 'catchInterruptions'],
        unstable: ['message'],
        withEnv: ['overrides'],
        withCredentials: ['bindings'],
        stash: ['name', 'includes', 'excludes', 'allowEmpty', 'useDefaultExcludes'],
        unstash: ['name'],
        archiveArtifacts: ['artifacts', 'excludes', 'allowEmptyArchive', 'fingerprint', 'onlyIfSuccessful'],
        junit: ['testResults', 'allowEmptyResults', 'skipMarkingBuildUnstable', 'skipPublishingChecks',
            'keepLongStdio', 'keepTestNames'],
        lock: ['resource', 'label', 'quantity', 'variable', 'extra', 'inversePrecedence', 'skipIfLocked'],
        milestone: ['ordinal', 'label', 'unsafe'],
        checkout: ['scm', 'changelog', 'poll'],
        library: ['identifier', 'retriever', 'changelog'],
        readTrusted: ['path'],
        podTemplate: ['yaml', 'label', 'cloud', 'inheritFrom'],
        readFile: ['file', 'encoding'],
        writeFile: ['file', 'text', 'encoding'],
        fileExists: ['file'],
        dir: ['path'],
        deleteDir: [],
        pwd: ['tmp'],
        isUnix: [],
        recordIssues: ['tool', 'tools', 'enabledForFailure'],
    ]
    static final List SYMBOLS = ['legacySCM', 'modernSCM', 'usernamePassword', 'string', 'sarif']
    static FakeJenkins now

    final Map settings
    final File work
    final File root
    final String revision
    final Scope build = new Scope('build', 'build', null)
    final ReentrantLock turn = new ReentrantLock(true)
    final Condition change = turn.newCondition()
    final ThreadLocal<Context> contexts = new ThreadLocal<>()
    final Map globals = [:]
    final Map held = [:].withDefault { 0 }
    final Map libraries = [:]
    final List archived = []
    final List reports = []
    String result = 'SUCCESS'
    boolean isAborted = false
    int counter = 0
    GroovyClassLoader loader

    static void main(String[] words) {
        Map settings = new JsonSlurper().parseText(new File(words[0]).getText('UTF-8'))
        now = new FakeJenkins(settings)
        Map report = now.run()
        new File(words[1]).setText(JsonOutput.toJson(report), 'UTF-8')
    }

    FakeJenkins(Map settings) {
        this.settings = settings
        work = new File(settings.work)
        root = new File(settings.root)
        revision = Shell.output(['git', 'rev-parse', 'HEAD'], root).trim()
        globals.putAll([BUILD_NUMBER: '1', JOB_NAME: 'adopter/main', JENKINS_URL: 'http://127.0.0.1/'])
        globals.putAll(settings.variables)
        CompilerConfiguration configuration = new CompilerConfiguration(scriptBaseClass: 'StepScript')
        configuration.addCompilationCustomizers(new SavedVariables())
        loader = new GroovyClassLoader(FakeJenkins.classLoader, configuration)
    }

    Map run() {
        contexts.set(new Context(scope: build, env: [:] + globals))
        turn.lock()
        try {
            // In pull requests that are not trusted, Jenkins takes the file of the branch below.
            String name = settings.jenkinsfile
            Script script = loader.parseClass(Shell.output(['git', 'show', "$revision:$name".toString()], root), 'Jenkinsfile')
                .getDeclaredConstructor().newInstance()
            script.run()
        } catch (Throwable error) {
            failed(error, build)
        } finally {
            turn.unlock()
        }
        [result: result, archived: archived, reports: reports, stages: build.children*.report(), log: build.log.toString()]
    }

    void failed(Throwable error, Scope scope) {
        boolean isAbort = error instanceof Interruption && error.isActual
        scope.mark(isAbort ? 'ABORTED' : 'FAILURE')
        worsen(isAbort ? 'ABORTED' : 'FAILURE')
        scope.write("ERROR: ${error instanceof StepFailure || error instanceof Interruption ? error.message : error}\n")
        if (!(error instanceof StepFailure || error instanceof Interruption)) {
            StringWriter trace = new StringWriter()
            error.printStackTrace(new PrintWriter(trace))
            scope.write(trace.toString().readLines().findAll { !it.contains('codehaus') }.take(15).join('\n') + '\n')
        }
    }

    void worsen(String other) {
        if (Scope.ORDER.indexOf(other) > Scope.ORDER.indexOf(result)) {
            result = other
        }
    }

    Context getContext() {
        contexts.get()
    }

    Object inside(Map changes, Closure body) {
        Context before = context
        contexts.set(before.changed(changes))
        try {
            return body.call()
        } finally {
            contexts.set(before)
        }
    }

    Object inEnv(Map added, Closure body) {
        Map env = [:] + context.env
        added.each { name, value ->
            if (name.startsWith('PATH+')) {
                env.PATH = value + ':' + (env.PATH ?: System.getenv('PATH'))
            } else {
                env[name] = value
            }
        }
        inside(env: env, body)
    }

    void write(String text) {
        String shown = text
        context.secrets.each { shown = shown.replace(it, '****') }
        context.scope.write(shown)
    }

    /** Wait without keeping others from running. */
    void pause(Closure body) {
        turn.unlock()
        try {
            body.call()
        } finally {
            turn.lock()
        }
    }

    void waitUntil(String what, Closure<Boolean> isPossible, Closure<Boolean> isReady) {
        while (!isReady.call()) {
            checkLimits()
            if (!isPossible.call()) {
                if (!context.limits) {
                    throw new StepFailure("it would wait for $what for ever")
                }
                write("Still waiting: $what\n")
                context.limits[-1].end = 0
            } else {
                change.await(100, TimeUnit.MILLISECONDS)
            }
        }
        checkLimits()
    }

    void checkLimits() {
        if (isAborted) {
            throw new Interruption('Aborted by a newer build')
        }
        Map over = context.limits.find { System.currentTimeMillis() > it.end }
        if (over) {
            throw new Interruption('Timeout has been exceeded', over)
        }
    }

    Object global(String name) {
        if (name == 'env') {
            return new EnvVariables()
        }
        if (name == 'scm') {
            return [$class: 'FakeSCM', root: root.path]
        }
        if (name == 'currentBuild') {
            return [result: result, currentResult: result, number: 1,
                getBuildCauses: { String cause -> cause in (settings.causes ?: []) ? [[_class: cause]] : [] }]
        }
        if (name == 'params') {
            return settings.variables
        }
        if (libraries.containsKey(name)) {
            return libraries[name]
        }
        Map env = context.env
        if (env.containsKey(name)) {
            return env[name]
        }
        throw new MissingPropertyException(name, FakeJenkins)
    }

    /** Do a step, a symbol, or a variable of a library. */
    Object call(String name, List words) {
        if (name == 'pipeline') {
            return pipeline(words[0])
        }
        if (libraries.containsKey(name)) {
            return libraries[name].invokeMethod('call', words as Object[])
        }
        if (name in SYMBOLS) {
            return [symbol: name, value: words ? words[0] : null]
        }
        if (!STEPS.containsKey(name)) {
            throw new NoSuchMethodError("No such DSL method '$name' found among steps ${STEPS.keySet().sort()}")
        }
        Closure body = words && words[-1] instanceof Closure ? words[-1] : null
        List rest = body ? words[0..<-1] : words
        if (name != 'parallel' && body) {
            Saved.checkClosure(body)
        }
        Map options = [:]
        if (rest.size() == 1 && rest[0] instanceof Map && name != 'parallel' && rest[0].get('$class') == null) {
            options = rest[0]
        } else if (rest && name != 'parallel') {
            if (rest.size() > 1 || !STEPS[name]) {
                throw new IllegalArgumentException("Expected named arguments but got $rest")
            }
            options = [(STEPS[name][0]): rest[0]]
        }
        if (name != 'parallel') {
            Set unknown = options.keySet() - STEPS[name]
            if (unknown) {
                throw new IllegalArgumentException("Unknown parameter(s) of $name: $unknown")
            }
        }
        if (name in NEEDS_NODE && !context.workspace) {
            throw new StepFailure("Required context class hudson.FilePath is missing\n" +
                'Perhaps you forgot to surround the step with a step that provides this, such as: node')
        }
        checkLimits()
        String method = 'step' + name.capitalize()
        name == 'parallel' ? stepParallel(words[0]) : body ? this."$method"(options, body) : this."$method"(options)
    }

    // Declarative syntax

    Object pipeline(Closure body) {
        Section pipeline = new Section('pipeline', body)
        pipeline.allow(['agent', 'options', 'parameters', 'triggers', 'environment', 'stages', 'post'])
        for (required in ['agent', 'stages']) {
            if (!pipeline.all(required)) {
                throw new StepFailure("Missing required section \"$required\"")
            }
        }
        defaults(pipeline)
        new Section('triggers', (pipeline.one('triggers') ?: { }) as Closure).allow(['cron', 'pollSCM'])
        new Section('options', (pipeline.one('options') ?: { }) as Closure)
            .allow(['skipDefaultCheckout', 'preserveStashes', 'timeout', 'disableConcurrentBuilds', 'buildDiscarder'])
        Throwable first = null
        Section stages = new Section('stages', pipeline.one('stages'))
        stages.allow(['stage'])
        List names = stages.all('stage').collect { it[0] }
        if (names.unique(false) != names) {
            throw new StepFailure("Duplicate stage name in $names")
        }
        boolean isBefore = settings.start_stage as boolean
        onAgent(pipeline.one('agent')) {
            for (List words in stages.all('stage')) {
                isBefore = isBefore && words[0] != settings.start_stage
                Scope scope = new Scope(words[0], 'stage', build)
                if (first || isBefore) {
                    scope.mark('SKIPPED')
                    continue
                }
                try {
                    inside(scope: scope) { stage(new Section('stage', words[1])) }
                } catch (Throwable error) {
                    failed(error, scope)
                    first = error
                }
            }
        }
        Section post = new Section('post', (pipeline.one('post') ?: { }) as Closure)
        post.allow(['always', 'success', 'failure', 'unstable', 'aborted', 'cleanup'])
        for (condition in ['always', result.toLowerCase(), 'cleanup']) {
            post.all(condition).each { steps(it[0]) }
        }
        null
    }

    void defaults(Section pipeline) {
        new Section('parameters', (pipeline.one('parameters') ?: { }) as Closure).entries.each { entry ->
            if (!(entry[0] in ['string', 'choice', 'booleanParam', 'text'])) {
                throw new StepFailure("Invalid parameter type \"${entry[0]}\"")
            }
            Map words = entry[1][0]
            Object value = entry[0] == 'choice' ? words.choices[0] : words.defaultValue
            String text = settings.variables.containsKey(words.name) ? settings.variables[words.name] : value as String
            context.env[words.name] = text
        }
    }

    void stage(Section section) {
        section.allow(['agent', 'steps', 'when', 'options', 'environment', 'post'])
        if (!section.all('steps')) {
            throw new StepFailure('Expected one of "steps", "stages", or "parallel" for a stage')
        }
        onAgent(section.one('agent') ?: 'none') { steps(section.one('steps')) }
    }

    void onAgent(Object agent, Closure body) {
        if (agent == 'none') {
            body.call()
        } else if (agent == 'any') {
            stepNode([label: ''], body)
        } else {
            stepNode([label: new Section('agent', agent).one('label')], body)
        }
    }

    void steps(Closure body) {
        Script script = new DeclarativeSteps()
        Closure own = body.rehydrate(script, script, script)
        own.resolveStrategy = Closure.OWNER_ONLY
        own.call()
    }

    // Steps

    Object stepScript(Map options, Closure body) {
        body.call()
    }

    Object stepEcho(Map options) {
        write("${options.message}\n")
    }

    Object stepError(Map options) {
        throw new StepFailure(options.message.toString())
    }

    Object stepUnstable(Map options) {
        write("WARNING: ${options.message}\n")
        context.scope.mark('UNSTABLE')
        worsen('UNSTABLE')
    }

    Object stepStage(Map options, Closure body) {
        Scope scope = new Scope(options.name.toString(), 'stage', context.scope)
        inside(scope: scope, body)
    }

    Object stepNode(Map options, Closure body) {
        String label = options.label ?: ''
        Map agent = null
        waitUntil("a node with the label `$label`", { settings.nodes.any { !it.is_dead && Labels.match(label, it) } }) {
            agent = settings.nodes.find { !it.is_dead && held[it.name] < (it.executors ?: 1) && Labels.match(label, it) }
            agent != null
        }
        int executor = held[agent.name]
        List inUse = settings.used = settings.used ?: []
        executor = (0..<(agent.executors ?: 1)).find { !(agent.name + it in inUse) }
        String slot = agent.name + executor
        inUse << slot
        held[agent.name]++
        File place = new File(work, "nodes/${agent.name}/workspace" + (executor ? "@${executor + 1}" : ''))
        place.mkdirs()
        new File(place.path + '@tmp').mkdirs()
        Map env = [NODE_NAME: agent.name, WORKSPACE: place.path, WORKSPACE_TMP: place.path + '@tmp',
            EXECUTOR_NUMBER: "$executor".toString(), POD_LABEL: agent.name]
        context.scope.node = agent.name
        write("Running on ${agent.name} in ${place.path}\n")
        try {
            return inside(agent: agent, workspace: place, directory: place) { inEnv(env, body) }
        } finally {
            inUse.remove((Object) slot)
            held[agent.name]--
            change.signalAll()
        }
    }

    Object stepPodTemplate(Map options, Closure body) {
        String name = 'pod-' + (++counter)
        Map pod = [name: name, labels: [name], executors: 1, yaml: options.yaml]
        settings.nodes << pod
        try {
            return inEnv([POD_LABEL: name], body)
        } finally {
            settings.nodes.remove(pod)
        }
    }

    Object stepParallel(Map branches) {
        List failures = [].asSynchronized()
        Context before = context
        boolean isFast = branches.remove('failFast') ?: false
        branches.values().each { Saved.checkClosure(it) }
        List threads = branches.collect { name, body ->
            Scope scope = new Scope(name.toString(), 'branch', before.scope)
            new Thread({
                turn.lock()
                contexts.set(before.changed(scope: scope))
                try {
                    body.call()
                } catch (Throwable error) {
                    failed(error, scope)
                    failures << error
                } finally {
                    turn.unlock()
                }
            })
        }
        pause {
            threads*.start()
            threads*.join()
        }
        if (failures) {
            throw failures[0]
        }
        null
    }

    Object stepTimeout(Map options, Closure body) {
        double minutes = (options.time as double) * ([SECONDS: 1 / 60d, MINUTES: 1d, HOURS: 60d][options.unit ?: 'MINUTES'])
        Map limit = [end: System.currentTimeMillis() + (long) (minutes * settings.minute * 1000)]
        try {
            return inside(limits: context.limits + [limit], body)
        } catch (Interruption error) {
            if (error.limit.is(limit)) {
                error.isActual = false
            }
            throw error
        }
    }

    Object stepRetry(Map options, Closure body) {
        int left = options.count as int
        while (true) {
            try {
                return body.call()
            } catch (Exception error) {
                if (--left <= 0 || (error instanceof Interruption && error.isActual)) {
                    throw error
                }
                write("ERROR: ${error.message}\nRetrying\n")
            }
        }
    }

    Object stepSleep(Map options) {
        pause { Thread.sleep((options.time as int) * 1000) }
    }

    Object stepCatchError(Map options, Closure body) {
        try {
            body.call()
        } catch (Exception error) {
            boolean isActual = error instanceof Interruption && error.isActual
            if (isActual && options.catchInterruptions == false) {
                throw error
            }
            Scope scope = context.scope
            if (options.message) {
                write("ERROR: ${options.message}\n")
            }
            String before = result
            Map states = scope.with { [:] }
            for (Scope at = scope; at; at = at.parent) {
                states[at] = at.state
            }
            failed(error, scope)
            result = before
            states.each { at, state -> at.state = state }
            worsen(options.buildResult ?: 'FAILURE')
            scope.mark(options.stageResult ?: 'SUCCESS')
        }
        null
    }

    Object stepWarnError(Map options, Closure body) {
        stepCatchError([message: options.message, buildResult: 'UNSTABLE', stageResult: 'UNSTABLE'], body)
    }

    Object stepWithEnv(Map options, Closure body) {
        inEnv(options.overrides.collectEntries { String text -> [text.takeWhile { it != '=' }, text.substring(text.indexOf('=') + 1)] }, body)
    }

    Object stepWithCredentials(Map options, Closure body) {
        Map env = [:]
        List secrets = []
        options.bindings.each { binding ->
            Map value = binding.value
            Map credentials = settings.credentials[value.credentialsId]
            if (!credentials) {
                throw new StepFailure("Could not find credentials entry with ID '${value.credentialsId}'")
            }
            env[value.usernameVariable ?: value.variable] = credentials.username ?: credentials.secret
            if (value.passwordVariable) {
                env[value.passwordVariable] = credentials.password
            }
            secrets << (credentials.password ?: credentials.secret)
        }
        inside(secrets: context.secrets + secrets) { inEnv(env, body) }
    }

    Object stepSh(Map options) {
        if (options.script instanceof GString) {
            throw new StepFailure('a GString in `sh`: its values become a part of the script')
        }
        File script = new File(context.workspace.path + '@tmp', "script-${++counter}.sh")
        script.setText(options.script.toString(), 'UTF-8')
        Map env = [:] + System.getenv() + globals + context.env
        StringBuffer output = new StringBuffer()
        List lines = [].asSynchronized()
        Context here = context
        int code = 0
        Map fault = settings.faults.find { it.node in [null, context.agent.name] && options.script.contains(it.script) }
        pause {
            contexts.set(here)
            code = Shell.run(script, context.directory, env.collectEntries { name, value -> [name.toString(), value.toString()] },
                { String line ->
                    if (options.returnStdout && !line.startsWith('+ ')) {
                        output << line
                    } else {
                        contexts.set(here)
                        write(line)
                    }
                    lines << line
                }) {
                    isAborted || here.limits.any { System.currentTimeMillis() > it.end } || isFault(fault, lines)
                }
        }
        if (fault?.isDone) {
            settings.faults.remove(fault)
            if (fault.kind == 'dead agent') {
                here.agent.is_dead = true
                throw new Interruption("agent ${here.agent.name} was deleted").with { it.isActual = false; it }
            }
            isAborted = true
        }
        checkLimits()
        if (options.returnStatus) {
            return code
        }
        if (code != 0) {
            throw new StepFailure("script returned exit code $code")
        }
        options.returnStdout ? output.toString() : null
    }

    /** Ask whether it is time for a fault: when the script printed the text of `after`. */
    boolean isFault(Map fault, List lines) {
        if (fault && lines.any { it.contains(fault.after) }) {
            fault.isDone = true
        }
        fault?.isDone
    }

    Object stepStash(Map options) {
        checkName(options.name)
        List files = matching(context.directory, options.includes ?: '**', options.excludes)
        if (!files && !options.allowEmpty) {
            throw new StepFailure("No files included in stash '${options.name}'")
        }
        File target = new File(work, "stashes/${options.name}")
        target.deleteDir()
        target.mkdirs()
        copy(context.directory, files, target)
        write("Stashed ${files.size()} file(s)\n")
    }

    Object stepUnstash(Map options) {
        checkName(options.name)
        File source = new File(work, "stashes/${options.name}")
        if (!source.exists()) {
            throw new StepFailure("No such saved stash '${options.name}'")
        }
        copy(source, matching(source, '**', null), context.directory)
    }

    void checkName(String name) {
        if (!(name ==~ /[^\/\\\n]{1,200}/)) {
            throw new StepFailure("‘$name’ is an unsafe name of a stash")
        }
    }

    Object stepArchiveArtifacts(Map options) {
        List files = matching(context.directory, options.artifacts, options.excludes)
        if (!files && !options.allowEmptyArchive) {
            throw new StepFailure("No artifacts found that match the file pattern \"${options.artifacts}\"")
        }
        copy(context.directory, files, new File(work, 'archive'))
        archived.addAll(files*.toString())
    }

    Object stepJunit(Map options) {
        List files = matching(context.directory, options.testResults, null)
        if (!files && !options.allowEmptyResults) {
            throw new StepFailure('No test report files were found. Configuration error?')
        }
        for (file in files) {
            String text = context.directory.toPath().resolve(file).toFile().getText('UTF-8')
            reports << [file: file.toString(), text: text]
            if (text =~ /<(failure|error)/ && !options.skipMarkingBuildUnstable) {
                worsen('UNSTABLE')
                context.scope.mark('UNSTABLE')
            }
        }
    }

    Object stepRecordIssues(Map options) {
        List files = matching(context.directory, options.tool.value.pattern, null)
        reports.addAll(files.collect { [file: it.toString(), text: context.directory.toPath().resolve(it).toFile().text] })
    }

    Object stepLock(Map options, Closure body) {
        List all = options.resource ? [options.resource] : settings.resources[options.label] ?: []
        int wanted = options.quantity ?: all.size()
        List taken = []
        List inUse = settings.locked = settings.locked ?: []
        waitUntil("$wanted of `${options.label ?: options.resource}`", { all.size() >= wanted && wanted > 0 }) {
            taken = (all - inUse).take(wanted)
            taken.size() == wanted
        }
        inUse.addAll(taken)
        write("Lock acquired on $taken\n")
        try {
            return body.call()
        } finally {
            inUse.removeAll(taken)
            change.signalAll()
        }
    }

    Object stepMilestone(Map options) {
        if (settings.newest_build && (globals.BUILD_NUMBER as int) < settings.newest_build) {
            isAborted = true
            checkLimits()
        }
    }

    Object stepCheckout(Map options) {
        File place = context.directory
        if (!new File(place, '.git').exists()) {
            Shell.output(['git', 'init', '--quiet'], place)
        }
        Shell.output(['git', 'fetch', '--quiet', root.path, 'HEAD', '+refs/heads/*:refs/remotes/origin/*'], place)
        Shell.output(['git', 'checkout', '--quiet', '--force', '--detach', revision], place)
        [GIT_COMMIT: revision]
    }

    Object stepLibrary(Map options) {
        String name = options.identifier.tokenize('@')[0]
        File target = new File(work, "libs/$name")
        if (options.retriever) {
            Map retriever = options.retriever.value instanceof Map ? options.retriever.value : [:]
            if (!options.identifier.contains('@')) {
                throw new StepFailure("Must specify a version for library $name")
            }
            if (settings.is_untrusted) {
                throw new StepFailure("Library '$name' has been modified in an untrusted revision")
            }
            target.mkdirs()
            File archive = new File(work, 'library.tar')
            String path = (retriever.libraryPath ?: '.').toString()
            Shell.output(['git', 'archive', '-o', archive.path, revision, path], root)
            Shell.output(['tar', '-xf', archive.path, '-C', target.path], root)
            target = new File(target, path)
        } else {
            if (!settings.libraries[name]) {
                throw new StepFailure("No library named $name found")
            }
            target = new File(settings.libraries[name])
        }
        write("Loading library ${options.identifier}\n")
        loader.addURL(new File(target, 'src').toURI().toURL())
        for (file in new File(target, 'vars').listFiles().findAll { it.name.endsWith('.groovy') }) {
            String variable = file.name - '.groovy'
            libraries[variable] = loader.parseClass(file.getText('UTF-8'), file.name).getDeclaredConstructor().newInstance()
        }
        null
    }

    Object stepReadTrusted(Map options) {
        Shell.output(['git', 'show', "$revision:${options.path}".toString()], root)
    }

    Object stepReadFile(Map options) {
        new File(context.directory, options.file).getText('UTF-8')
    }

    Object stepWriteFile(Map options) {
        File file = new File(context.directory, options.file)
        file.parentFile.mkdirs()
        file.setText(options.text, 'UTF-8')
    }

    Object stepFileExists(Map options) {
        new File(context.directory, options.file).exists()
    }

    Object stepDir(Map options, Closure body) {
        File place = new File(context.directory, options.path)
        place.mkdirs()
        inside(directory: place, body)
    }

    Object stepDeleteDir(Map options) {
        context.directory.deleteDir()
        context.directory.mkdirs()
    }

    Object stepPwd(Map options) {
        context.directory.path
    }

    Object stepIsUnix(Map options) {
        true
    }

    static List matching(File place, String includes, String excludes) {
        Closure matchers = { String text ->
            (text ? text.split(',')*.trim() : []).collectMany { String pattern ->
                // As Ant's patterns: `**/` is also nothing.
                [pattern, pattern.replace('**/', '')].collect { FileSystems.default.getPathMatcher('glob:' + it) }
            }
        }
        List wanted = matchers(includes)
        List unwanted = matchers(excludes)
        List found = []
        if (place.exists()) {
            place.eachFileRecurse { File file ->
                Path path = place.toPath().relativize(file.toPath())
                if (file.file && !path.startsWith('.git') && wanted.any { it.matches(path) } && !unwanted.any { it.matches(path) }) {
                    found << path
                }
            }
        }
        found.sort()
    }

    static void copy(File source, List paths, File target) {
        for (Path path in paths) {
            Path copy = target.toPath().resolve(path)
            Files.createDirectories(copy.parent)
            Files.copy(source.toPath().resolve(path), copy, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.COPY_ATTRIBUTES)
        }
    }

}

/** What `steps` of a stage calls. */
class DeclarativeSteps extends StepScript {

    Object run() {
        null
    }

}

/** Expressions of labels: names, `&&`, `||`, `!`, parentheses, and quoted names. */
class Labels {

    private final List words
    private final Set names

    private Labels(String text, Map node) {
        words = (text =~ /"(?:[^"\\]|\\.)*"|&&|\|\||[!()]|[^\s"&|!()]+/).collect { it }
        names = ([node.name] + (node.labels ?: [])) as Set
    }

    static boolean match(String text, Map node) {
        if (!text.trim()) {
            return true
        }
        Labels labels = new Labels(text, node)
        boolean answer = labels.either()
        if (labels.words) {
            throw new StepFailure("`$text` is no expression of labels")
        }
        answer
    }

    private boolean either() {
        boolean answer = both()
        while (words && words[0] == '||') {
            words.remove(0)
            boolean other = both()
            answer = answer || other
        }
        answer
    }

    private boolean both() {
        boolean answer = one()
        while (words && words[0] == '&&') {
            words.remove(0)
            boolean other = one()
            answer = answer && other
        }
        answer
    }

    private boolean one() {
        String word = words ? words.remove(0) : ''
        if (word == '!') {
            return !one()
        }
        if (word == '(') {
            boolean answer = either()
            if (!words || words.remove(0) != ')') {
                throw new StepFailure('a parenthesis is open in an expression of labels')
            }
            return answer
        }
        String name = word.startsWith('"') ? word[1..-2].replaceAll(/\\(.)/, '$1') : word
        name in names
    }

}
