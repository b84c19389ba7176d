/* A check of Jenkinsfiles and shared libraries for what Jenkins refuses, or what fails when it saves a
 * build: declarative syntax, and the rules of the CPS transformation.
 *
 * Arguments are files; each finding is a line `FILE:LINE:COLUMN: RULE: MESSAGE (ADDRESS)`.
 */
import org.codehaus.groovy.ast.ASTNode
import org.codehaus.groovy.ast.ClassNode
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.MethodNode
import org.codehaus.groovy.ast.ModuleNode
import org.codehaus.groovy.ast.expr.BinaryExpression
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.ClosureListExpression
import org.codehaus.groovy.ast.expr.ConstantExpression
import org.codehaus.groovy.ast.expr.ConstructorCallExpression
import org.codehaus.groovy.ast.expr.DeclarationExpression
import org.codehaus.groovy.ast.expr.Expression
import org.codehaus.groovy.ast.expr.GStringExpression
import org.codehaus.groovy.ast.expr.MapExpression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.ast.expr.NamedArgumentListExpression
import org.codehaus.groovy.ast.expr.PropertyExpression
import org.codehaus.groovy.ast.expr.TupleExpression
import org.codehaus.groovy.ast.expr.VariableExpression
import org.codehaus.groovy.ast.stmt.BlockStatement
import org.codehaus.groovy.ast.stmt.ExpressionStatement
import org.codehaus.groovy.ast.stmt.ForStatement
import org.codehaus.groovy.ast.stmt.Statement
import org.codehaus.groovy.control.CompilationUnit
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.MultipleCompilationErrorsException
import org.codehaus.groovy.control.Phases
import org.codehaus.groovy.control.messages.SyntaxErrorMessage

/** Reads files, and prints findings. */
class Lint {

    static final String BOOK = 'https://www.jenkins.io/doc/book/pipeline/'
    static final String MISMATCHES = BOOK + 'cps-method-mismatches/'
    static final String PRACTICES = BOOK + 'pipeline-best-practices/'
    static final String SYNTAX = BOOK + 'syntax/'

    final String file
    final List<List> findings = []

    Lint(String file) {
        this.file = file
    }

    static void main(String[] files) {
        List lines = files.collectMany { String file -> new Lint(file).lines() }
        lines.each { println(it) }
        System.exit(lines ? 1 : 0)
    }

    List<String> lines() {
        try {
            CompilationUnit unit = new CompilationUnit(new CompilerConfiguration())
            unit.addSource(new File(file))
            unit.compile(Phases.CONVERSION)
            unit.AST.modules.each { check(it) }
        } catch (MultipleCompilationErrorsException error) {
            error.errorCollector.errors.findAll { it instanceof SyntaxErrorMessage }.each {
                findings << [it.cause.line, it.cause.startColumn, 'syntax', it.cause.originalMessage.readLines()[0], SYNTAX]
            }
        }
        findings.unique().sort { one, other -> one[0] <=> other[0] ?: one[1] <=> other[1] }
            .collect { "$file:${it[0]}:${it[1]}: ${it[2]}: ${it[3]} (${it[4]})".toString() }
    }

    void add(ASTNode node, String rule, String message, String address) {
        findings << [node.lineNumber, node.columnNumber, rule, message, address]
    }

    void check(ModuleNode module) {
        new Declarative(this).check(module.statementBlock)
        for (ClassNode type in module.classes) {
            checkSaved(type)
            Set plain = type.methods.findAll { isPlain(it) }*.name as Set
            Set own = type.methods*.name as Set
            for (MethodNode method in type.methods + type.declaredConstructors) {
                if (method.code && method.lineNumber > 0 || method.name == 'run') {
                    new Body(this, method, plain, own - plain).check()
                }
            }
        }
    }

    static boolean isPlain(MethodNode method) {
        method.annotations.any { it.classNode.nameWithoutPackage == 'NonCPS' }
    }

    /** A value of a class of a library is saved like all others. */
    void checkSaved(ClassNode type) {
        boolean hasState = type.fields.any { !it.static } || type.methods.any { !it.static && !it.synthetic }
        boolean isSaved = type.interfaces*.nameWithoutPackage.contains('Serializable')
        if (!type.script && hasState && !isSaved && !type.interface && !type.enum && type.superClass.name == 'java.lang.Object') {
            add(type, 'unsaved-class', "the class `${type.nameWithoutPackage}` is not Serializable", Lint.PRACTICES)
        }
    }

}

/** A method or a constructor: code that is transformed, or not. */
class Body extends CodeVisitorSupport {

    static final Set STEPS = ['archiveArtifacts', 'bat', 'build', 'catchError', 'checkout', 'deleteDir', 'dir', 'echo',
        'error', 'fileExists', 'git', 'input', 'junit', 'library', 'lock', 'mail', 'milestone', 'node', 'parallel',
        'podTemplate', 'powershell', 'pwd', 'pwsh', 'readFile', 'readJSON', 'readTrusted', 'readYaml', 'retry', 'script',
        'sh', 'sleep', 'stage', 'stash', 'timeout', 'tool', 'unstable', 'unstash', 'waitUntil', 'warnError', 'withCredentials',
        'withEnv', 'writeFile', 'ws'] as Set
    static final Set SHELLS = ['sh', 'bat', 'powershell', 'pwsh'] as Set
    // Methods of Java and Groovy that call closures, and that Jenkins has not transformed:
    // translatable.txt of the plugin workflow-cps has the others.
    static final Set BINARY = ['sort', 'toSorted', 'unique', 'toUnique', 'dropWhile', 'eachLine', 'splitEachLine', 'eachFile',
        'eachFileRecurse', 'eachFileMatch', 'eachDir', 'traverse', 'withReader', 'withWriter', 'withInputStream',
        'withOutputStream', 'withStream', 'withCloseable', 'withPrintWriter', 'forEach', 'removeIf', 'computeIfAbsent',
        'computeIfPresent', 'tap', 'map', 'filter', 'flatMap', 'reduce', 'anyMatch', 'allMatch', 'eachRow'] as Set
    static final Set UNSAVED_CALLS = ['iterator', 'listIterator', 'stream', 'parallelStream', 'matcher', 'values', 'keySet',
        'entrySet', 'subList', 'newReader', 'newWriter', 'newInputStream', 'newOutputStream', 'getRawBuild'] as Set
    static final Set UNSAVED_TYPES = ['JsonSlurper', 'XmlSlurper', 'XmlParser', 'Scanner', 'StringReader', 'StringWriter',
        'Thread', 'FileReader', 'FileWriter', 'FileInputStream', 'FileOutputStream', 'Object', 'Timer'] as Set

    final Lint lint
    final MethodNode method
    final Set plain
    final Set transformed
    final boolean isPlain
    final boolean isConstructor
    // Variables that hold what cannot be saved: where they got it.
    private final Map<String, ASTNode> held = [:]
    private final Map<String, String> holders = [:]
    private final List<Set> loops = []
    private int weight = 0

    Body(Lint lint, MethodNode method, Set plain, Set transformed) {
        this.lint = lint
        this.method = method
        this.plain = plain
        this.transformed = transformed
        isConstructor = method.name == '<init>'
        isPlain = Lint.isPlain(method)
    }

    void check() {
        method.code.visit(this)
        // The transformation makes about so many bytes of each node.
        if (!isPlain && weight * 24 > 65535) {
            lint.add(method.code.statements ? method.code.statements[0] : method, 'method-size',
                "about ${weight * 24} bytes of a method, of which Java allows 65535", Lint.PRACTICES)
        }
    }

    private static boolean isOwn(MethodCallExpression call) {
        call.implicitThis || call.objectExpression.text in ['this', 'steps', 'script']
    }

    @Override
    void visitMethodCallExpression(MethodCallExpression call) {
        weight += 3
        String name = call.methodAsString
        boolean isStep = isOwn(call) && (name in STEPS && !(name in plain) || name in transformed)
        if (isStep && isConstructor) {
            lint.add(call, 'step-in-constructor', "`$name` in a constructor, which is not transformed", Lint.MISMATCHES)
        } else if (isStep && isPlain) {
            lint.add(call, 'step-in-NonCPS', "`$name` in a method that is @NonCPS", Lint.MISMATCHES)
        }
        List words = call.arguments instanceof TupleExpression ? call.arguments.expressions : []
        if (!isPlain && !call.implicitThis && name in BINARY && words.any { it instanceof ClosureExpression }) {
            lint.add(call, 'closure-of-binary-method',
                "`$name` is not transformed, and cannot call a block that is: write a @NonCPS method", Lint.MISMATCHES)
        }
        if (name in SHELLS && isOwn(call)) {
            checkShell(call, words)
        }
        call.objectExpression.visit(this)
        call.arguments.visit(this)
        if (!isPlain && isOwn(call) && !(name in plain) && !(name in ['println', 'print'])) {
            save(call, name)
        }
    }

    /** A step: the build may be saved while it runs. */
    private void save(MethodCallExpression call, String name) {
        held.each { variable, place ->
            lint.add(place, 'unsaved-variable', "`$variable` holds ${holders[variable]}, which cannot be saved in `$name` " +
                "(line ${call.lineNumber})", Lint.PRACTICES)
        }
        held.clear()
    }

    private void checkShell(MethodCallExpression call, List words) {
        Expression script = words ? words[0] : null
        if (script instanceof MapExpression || script instanceof NamedArgumentListExpression) {
            script = script.mapEntryExpressions.find { it.keyExpression.text == 'script' }?.valueExpression
        }
        boolean isSum = script instanceof BinaryExpression && script.operation.text == '+'
        if (script instanceof GStringExpression || isSum) {
            lint.add(script, 'values-in-script', 'a value becomes a part of the script: use an environment variable',
                Lint.BOOK + 'jenkinsfile/#string-interpolation')
        }
    }

    @Override
    void visitDeclarationExpression(DeclarationExpression expression) {
        visitBinaryExpression(expression)
    }

    @Override
    void visitBinaryExpression(BinaryExpression expression) {
        weight += 2
        super.visitBinaryExpression(expression)
        if (isPlain || expression.operation.text != '=' || !(expression.leftExpression instanceof VariableExpression)) {
            return
        }
        String variable = expression.leftExpression.name
        String holder = unsaved(expression.rightExpression)
        if (holder) {
            held[variable] = expression.leftExpression
            holders[variable] = holder
        } else {
            held.remove(variable)
        }
    }

    /** Return what an expression gives that cannot be saved, or null. */
    private static String unsaved(Expression value) {
        if (value instanceof BinaryExpression && value.operation.text == '=~') {
            return 'a Matcher'
        }
        if (value instanceof ConstructorCallExpression && value.type.nameWithoutPackage in UNSAVED_TYPES) {
            return 'a ' + value.type.nameWithoutPackage
        }
        if (value instanceof PropertyExpression && value.propertyAsString == 'rawBuild') {
            return 'a build'
        }
        if (value instanceof MethodCallExpression && !value.implicitThis) {
            Expression owner = value.objectExpression
            if (owner instanceof ConstructorCallExpression && owner.type.nameWithoutPackage in ['JsonSlurper', 'XmlSlurper', 'XmlParser']) {
                return "what a ${owner.type.nameWithoutPackage} read"
            }
            return value.methodAsString in UNSAVED_CALLS ? "what `${value.methodAsString}` returns" : null
        }
        null
    }

    @Override
    void visitForLoop(ForStatement loop) {
        Set names = loop.collectionExpression instanceof ClosureListExpression ?
            loop.collectionExpression.expressions.findAll { it instanceof DeclarationExpression }*.leftExpression*.text as Set :
            [loop.variable.name] as Set
        loops << names
        super.visitForLoop(loop)
        loops.remove(loops.size() - 1)
    }

    @Override
    void visitClosureExpression(ClosureExpression closure) {
        weight += 3
        Set names = loops ? loops.sum() as Set : [] as Set
        if (names && !isPlain) {
            new Captures(lint, names).visitClosureExpression(closure)
        }
        List before = loops.collect { it }
        loops.clear()
        super.visitClosureExpression(closure)
        loops.addAll(before)
    }

    @Override
    void visitExpressionStatement(ExpressionStatement statement) {
        weight += 1
        super.visitExpressionStatement(statement)
    }

    @Override
    void visitConstantExpression(ConstantExpression expression) {
        weight += 1
    }

    @Override
    void visitVariableExpression(VariableExpression expression) {
        weight += 1
    }

}

/** Finds variables of loops in a block that is kept: all blocks get the last value. */
class Captures extends CodeVisitorSupport {

    final Lint lint
    final Set names

    Captures(Lint lint, Set names) {
        this.lint = lint
        this.names = names
    }

    @Override
    void visitVariableExpression(VariableExpression expression) {
        if (expression.name in names) {
            lint.add(expression, 'loop-variable', "a block keeps `${expression.name}`, which the loop changes: " +
                'give it a variable of its own', 'https://www.jenkins.io/doc/pipeline/examples/#parallel-multiple-nodes')
        }
    }

}

/** The sections of declarative syntax. */
class Declarative {

    static final Set TOP = ['agent', 'stages', 'post', 'environment', 'options', 'parameters', 'triggers', 'tools',
        'libraries'] as Set
    static final Set STAGE = ['agent', 'steps', 'stages', 'parallel', 'matrix', 'post', 'environment', 'options', 'tools', 'input',
        'when', 'failFast'] as Set
    static final Set MATRIX = ['axes', 'excludes', 'stages', 'agent', 'environment', 'input', 'options', 'post', 'tools',
        'when'] as Set
    static final Set CONDITIONS = ['always', 'changed', 'fixed', 'regression', 'aborted', 'failure', 'success', 'unstable',
        'unsuccessful', 'notBuilt', 'cleanup'] as Set
    static final Set AGENTS = ['label', 'node', 'docker', 'dockerfile', 'kubernetes'] as Set
    static final Set PARAMETERS = ['string', 'text', 'booleanParam', 'choice', 'password', 'file', 'run', 'credentials'] as Set
    static final Set LISTS = ['environment', 'options', 'parameters', 'triggers', 'tools', 'libraries', 'when', 'post'] as Set
    // Options, parameters and triggers are calls with values.
    static final Set VALUES = ['options', 'parameters', 'triggers'] as Set
    static final List KINDS = ['steps', 'stages', 'parallel', 'matrix']

    final Lint lint
    private final Set names = [] as Set
    private int depth = 0

    Declarative(Lint lint) {
        this.lint = lint
    }

    void add(ASTNode node, String message) {
        lint.add(node, 'declarative', message, Lint.SYNTAX)
    }

    void check(BlockStatement file) {
        new CodeVisitorSupport() {

            @Override
            void visitMethodCallExpression(MethodCallExpression call) {
                if (call.methodAsString == 'pipeline' && call.implicitThis && block(call)) {
                    add(call, '`pipeline` is not at the top of the file')
                }
                super.visitMethodCallExpression(call)
            }

        }.with { visitor ->
            for (Statement statement in file.statements) {
                MethodCallExpression call = callOf(statement)
                if (call?.methodAsString == 'pipeline' && block(call)) {
                    pipeline(call)
                } else {
                    statement.visit(visitor)
                }
            }
        }
    }

    static MethodCallExpression callOf(Statement statement) {
        Expression expression = statement instanceof ExpressionStatement ? statement.expression : null
        expression instanceof MethodCallExpression && expression.implicitThis ? expression : null
    }

    static List words(MethodCallExpression call) {
        call.arguments instanceof TupleExpression ? call.arguments.expressions : []
    }

    static ClosureExpression block(MethodCallExpression call) {
        List all = words(call)
        all && all[-1] instanceof ClosureExpression ? all[-1] : null
    }

    static List<Statement> statements(MethodCallExpression call) {
        ClosureExpression body = call ? block(call) : null
        body?.code instanceof BlockStatement ? body.code.statements : []
    }

    /** Return the sections in a block by name; report others, and those that are there twice. */
    Map<String, MethodCallExpression> sections(MethodCallExpression call, Set known, String place) {
        Map all = [:]
        for (Statement statement in statements(call)) {
            MethodCallExpression section = callOf(statement)
            String name = section?.methodAsString
            if (!(name in known)) {
                add(statement, section ? "unknown section `$name` in $place" : "$place has only sections")
            } else if (all.containsKey(name)) {
                add(section, "a second section `$name` in $place")
            } else {
                all[name] = section
            }
        }
        all.findAll { name, section -> name in LISTS }.each { name, section -> list(section) }
        all
    }

    void list(MethodCallExpression section) {
        String name = section.methodAsString
        if (!statements(section)) {
            add(section, block(section) ? "`$name` is empty" : "`$name` is a block")
        }
        if (name in VALUES) {
            statements(section).findAll { callOf(it) && block(callOf(it)) }.each { add(it, "`$name` has no blocks") }
        }
    }

    void pipeline(MethodCallExpression call) {
        Map all = sections(call, TOP, '`pipeline`')
        for (String name in ['agent', 'stages']) {
            if (!all[name]) {
                add(call, "`pipeline` has no section `$name`")
            }
        }
        agent(all.agent)
        parameters(all.parameters)
        post(all.post)
        environment(all.environment)
        if (all.stages) {
            stages(all.stages)
        }
    }

    void agent(MethodCallExpression section) {
        if (!section) {
            return
        }
        if (!block(section)) {
            if (!(words(section)*.text in [['none'], ['any']])) {
                add(section, '`agent` is `none`, `any` or a block')
            }
            return
        }
        List<MethodCallExpression> kinds = statements(section).collect { callOf(it) }
        if (kinds.size() != 1 || !(kinds[0]?.methodAsString in AGENTS)) {
            add(section, "`agent` has one of ${AGENTS.join(', ')}")
        }
    }

    void parameters(MethodCallExpression section) {
        for (Statement statement in statements(section)) {
            String kind = callOf(statement)?.methodAsString
            if (!(kind in PARAMETERS)) {
                add(statement, "unknown kind `$kind` of a parameter")
            }
        }
    }

    void environment(MethodCallExpression section) {
        Set variables = [] as Set
        for (Statement statement in statements(section)) {
            Expression pair = statement instanceof ExpressionStatement ? statement.expression : null
            if (!(pair instanceof BinaryExpression && pair.operation.text == '=' && pair.leftExpression instanceof VariableExpression)) {
                add(statement, '`environment` has only `NAME = value`')
            } else if (!variables.add(pair.leftExpression.name)) {
                add(statement, "a second variable `${pair.leftExpression.name}`")
            }
        }
    }

    void post(MethodCallExpression section) {
        Set conditions = [] as Set
        for (Statement statement in statements(section)) {
            MethodCallExpression condition = callOf(statement)
            if (condition?.methodAsString in CONDITIONS && !conditions.add(condition.methodAsString)) {
                add(statement, "a second condition `${condition.methodAsString}` of `post`")
            } else if (condition?.methodAsString in CONDITIONS) {
                steps(condition)
            } else {
                add(statement, "unknown condition `${condition?.methodAsString}` of `post`")
            }
        }
    }

    void stages(MethodCallExpression section) {
        if (!statements(section)) {
            add(section, "`${section.methodAsString}` has no stage")
        }
        for (Statement statement in statements(section)) {
            MethodCallExpression stage = callOf(statement)
            if (stage?.methodAsString == 'stage' && block(stage)) {
                this.stage(stage)
            } else if (!(section.methodAsString == 'parallel' && statement.text.startsWith('this.failFast'))) {
                add(statement, "`${section.methodAsString}` has only stages")
            }
        }
    }

    void stage(MethodCallExpression call) {
        List labels = words(call)
        if (labels.size() != 2) {
            add(call, 'a stage has a name')
        } else if (!names.add(labels[0].text)) {
            add(call, "a second stage `${labels[0].text}`")
        }
        Map all = sections(call, STAGE, 'a stage')
        List kinds = KINDS.findAll { all[it] }
        if (kinds.size() != 1) {
            add(call, "a stage has one of ${KINDS.join(', ')}, not ${kinds.size()}")
        }
        if (all.agent && (all.parallel || all.matrix)) {
            add(all.agent, 'a stage with parallel stages has no `agent`')
        }
        if (depth > 0 && (all.parallel || all.matrix)) {
            add(call, 'parallel stages in parallel stages')
        }
        agent(all.agent)
        post(all.post)
        environment(all.environment)
        all.steps && steps(all.steps)
        all.stages && stages(all.stages)
        if (all.parallel || all.matrix) {
            depth++
            all.parallel ? stages(all.parallel) : matrix(all.matrix)
            depth--
        }
    }

    void matrix(MethodCallExpression section) {
        Map all = sections(section, MATRIX, '`matrix`')
        for (String name in ['axes', 'stages']) {
            if (!all[name] || !statements(all[name])) {
                add(section, "`matrix` has no section `$name`")
            }
        }
        all.stages && stages(all.stages)
    }

    /** Steps are calls; everything else belongs into `script`. */
    void steps(MethodCallExpression section) {
        if (!statements(section)) {
            add(section, "`${section.methodAsString}` has no step")
        }
        for (Statement statement in statements(section)) {
            MethodCallExpression step = callOf(statement)
            Expression expression = statement instanceof ExpressionStatement ? statement.expression : null
            if (step?.methodAsString in ['stage', 'agent', 'steps', 'stages', 'post']) {
                add(statement, "`${step.methodAsString}` is no step")
            } else if (step && step.methodAsString != 'script' && block(step)) {
                steps(step)
            } else if (!step && !(expression instanceof VariableExpression)) {
                boolean isCall = expression instanceof MethodCallExpression
                add(statement, isCall ? 'a call of an object outside of `script`' : 'a statement outside of `script`')
            }
        }
    }

}
