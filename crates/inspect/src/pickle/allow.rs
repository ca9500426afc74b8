//! Which globals a pickle may name.
//!
//! An allow-list of exact names: a list of bad names loses (more than sixty advisories against
//! one scanner that had one). The list of known dangerous modules below only decides how loud the
//! finding is, never whether there is one.
//!
//! To be on the list a callable must do nothing with its arguments but hold them: no import, no
//! attribute look-up by name, no file, no call of an argument that the list does not hold. That
//! is why `builtins.getattr`, `torch.storage._load_from_bytes` and `functools.partial` are absent.

/// What the list says about a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It holds data.
    Allowed,
    /// Not on the list.
    Unlisted,
    /// Its module runs code, reads files or opens connections.
    Dangerous,
}

/// Judges `module` and `name` exactly as the pickle spells them.
pub(super) fn standing(module: &str, name: &str) -> Standing {
    let listed = ALLOWED
        .iter()
        .any(|(m, names)| *m == module && names.contains(&name));
    if listed {
        return Standing::Allowed;
    }
    let builtin = matches!(module, "builtins" | "__builtin__" | "__builtins__");
    let within = |outer: &str| {
        module
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let first = name.split('.').next().unwrap_or(name);
    let loud = (builtin && DANGEROUS_BUILTINS.contains(&first))
        || (!builtin && DANGEROUS_MODULES.iter().any(|m| within(m)))
        || DANGEROUS_EXACT.contains(&(module, name));
    if loud {
        Standing::Dangerous
    } else {
        Standing::Unlisted
    }
}

const DANGEROUS_BUILTINS: &[&str] = &[
    "eval",
    "exec",
    "execfile",
    "compile",
    "open",
    "file",
    "__import__",
    "getattr",
    "setattr",
    "delattr",
    "apply",
    "input",
    "breakpoint",
    "globals",
    "locals",
    "vars",
    "map",
    "filter",
    "reload",
    "help",
    "exit",
    "quit",
    "type",
    "__build_class__",
    "memoryview",
];

/// Modules of which, and of whose submodules, any unlisted name is called dangerous.
const DANGEROUS_MODULES: &[&str] = &[
    "os",
    "posix",
    "nt",
    "posixpath",
    "ntpath",
    "subprocess",
    "commands",
    "popen2",
    "sys",
    "importlib",
    "imp",
    "pkgutil",
    "runpy",
    "zipimport",
    "code",
    "codeop",
    "pty",
    "socket",
    "ssl",
    "socketserver",
    "shutil",
    "tempfile",
    "io",
    "_io",
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "types",
    "ctypes",
    "_ctypes",
    "cffi",
    "operator",
    "_operator",
    "functools",
    "_functools",
    "itertools",
    "asyncio",
    "multiprocessing",
    "concurrent",
    "threading",
    "_thread",
    "signal",
    "webbrowser",
    "http",
    "urllib",
    "urllib2",
    "requests",
    "httpx",
    "aiohttp",
    "ftplib",
    "smtplib",
    "imaplib",
    "poplib",
    "telnetlib",
    "xmlrpc",
    "pip",
    "ensurepip",
    "venv",
    "setuptools",
    "distutils",
    "cProfile",
    "profile",
    "pdb",
    "bdb",
    "timeit",
    "trace",
    "doctest",
    "idlelib",
    "lib2to3",
    "_osx_support",
    "_aix_support",
    "_pyrepl",
    "test",
    "unittest",
    "inspect",
    "linecache",
    "logging",
    "antigravity",
    "this",
    "gc",
    "weakref",
    "site",
    "sysconfig",
    "platform",
    "uuid",
    "shlex",
    "glob",
    "fileinput",
    "sqlite3",
    "builtins_",
    "nturl2path",
    "pydoc",
    "rlcompleter",
    "readline",
    "xml",
    "bz2",
    "gzip",
    "lzma",
    "zipfile",
    "tarfile",
    "mmap",
    "resource",
    "getpass",
    "codecs",
    "numpy.f2py",
    "numpy.testing",
    "numpy.distutils",
    "numpy.lib",
    "torch.hub",
    "torch.jit",
    "torch.package",
    "torch.utils",
    "torch._inductor",
    "torch._dynamo",
    "torch.fx",
    "torch.storage",
    "torch.serialization",
    "torch.distributed",
    "pandas.io",
    "mlflow",
    "aiofiles",
    "paramiko",
    "fabric",
    "keras",
    "tensorflow",
    "jinja2",
    "yaml",
    "sklearn.externals",
];

/// Single names in modules that also hold harmless ones.
const DANGEROUS_EXACT: &[(&str, &str)] = &[
    ("torch", "load"),
    ("numpy", "load"),
    ("numpy", "save"),
    ("numpy", "fromfile"),
    ("pandas", "read_csv"),
    ("pandas", "read_pickle"),
    ("pandas", "eval"),
    ("copyreg", "add_extension"),
    ("copyreg", "pickle"),
    ("numpy.testing._private.utils", "runstring"),
    ("__main__", "exec"),
    ("_codecs", "decode"),
    ("_codecs", "lookup"),
];

const NUMPY_RECONSTRUCT: &[&str] = &["_reconstruct", "scalar"];
const NUMPY_RANDOM: &[&str] = &[
    "__randomstate_ctor",
    "__generator_ctor",
    "__bit_generator_ctor",
];
const SPARSE: &[&str] = &[
    "csr_matrix",
    "csc_matrix",
    "coo_matrix",
    "csr_array",
    "csc_array",
    "coo_array",
    "bsr_matrix",
    "dia_matrix",
    "lil_matrix",
    "dok_matrix",
];

/// Module and its harmless names, exactly as pickles spell them (protocol 2 and below write the
/// module names of Python 2).
static ALLOWED: &[(&str, &[&str])] = &[
    ("builtins", BUILTINS),
    ("__builtin__", BUILTINS),
    ("_codecs", &["encode"]),
    ("argparse", &["Namespace"]),
    ("array", &["array", "_array_reconstructor"]),
    (
        "collections",
        &["OrderedDict", "defaultdict", "Counter", "deque", "ChainMap"],
    ),
    ("copy_reg", &["_reconstructor", "__newobj__"]),
    ("copyreg", &["_reconstructor", "__newobj__"]),
    (
        "datetime",
        &["date", "datetime", "time", "timedelta", "timezone"],
    ),
    ("decimal", &["Decimal"]),
    ("fractions", &["Fraction"]),
    (
        "ipaddress",
        &["IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network"],
    ),
    (
        "pathlib",
        &[
            "Path",
            "PosixPath",
            "WindowsPath",
            "PurePath",
            "PurePosixPath",
            "PureWindowsPath",
        ],
    ),
    ("types", &["SimpleNamespace"]),
    ("uuid", &["UUID", "SafeUUID"]),
    ("joblib.numpy_pickle", &["NumpyArrayWrapper"]),
    ("numpy", NUMPY),
    ("numpy.core.multiarray", NUMPY_RECONSTRUCT),
    ("numpy._core.multiarray", NUMPY_RECONSTRUCT),
    ("numpy.core.numeric", &["_frombuffer"]),
    ("numpy._core.numeric", &["_frombuffer"]),
    ("numpy.dtypes", NUMPY_DTYPES),
    ("numpy.ma.core", &["_mareconstruct", "MaskedArray"]),
    ("numpy.matrixlib.defmatrix", &["matrix"]),
    ("numpy.random", &["RandomState", "Generator"]),
    ("numpy.random._pickle", NUMPY_RANDOM),
    ("numpy.random._mt19937", &["MT19937"]),
    ("numpy.random._pcg64", &["PCG64", "PCG64DXSM"]),
    ("numpy.random._philox", &["Philox"]),
    ("numpy.random._sfc64", &["SFC64"]),
    ("numpy.random.mtrand", &["RandomState"]),
    (
        "pandas",
        &["DataFrame", "Series", "Index", "Timestamp", "Timedelta"],
    ),
    ("pandas.core.frame", &["DataFrame"]),
    ("pandas.core.series", &["Series"]),
    ("pandas.core.indexes.base", &["Index", "_new_Index"]),
    ("pandas.core.indexes.range", &["RangeIndex"]),
    (
        "pandas.core.indexes.numeric",
        &["Int64Index", "Float64Index", "UInt64Index"],
    ),
    (
        "pandas.core.internals.managers",
        &["BlockManager", "SingleBlockManager"],
    ),
    ("pandas.core.internals.blocks", &["new_block"]),
    ("pandas._libs.internals", &["_unpickle_block"]),
    ("pandas._libs.tslibs.timestamps", &["_unpickle_timestamp"]),
    ("scipy.sparse._csr", SPARSE),
    ("scipy.sparse._csc", SPARSE),
    ("scipy.sparse._coo", SPARSE),
    ("scipy.sparse.csr", SPARSE),
    ("scipy.sparse.csc", SPARSE),
    ("scipy.sparse.coo", SPARSE),
    ("sklearn.cluster._kmeans", &["KMeans", "MiniBatchKMeans"]),
    ("sklearn.decomposition._pca", &["PCA"]),
    ("sklearn.decomposition._truncated_svd", &["TruncatedSVD"]),
    ("sklearn.dummy", &["DummyClassifier", "DummyRegressor"]),
    ("sklearn.ensemble._forest", FOREST),
    (
        "sklearn.ensemble._gb",
        &["GradientBoostingClassifier", "GradientBoostingRegressor"],
    ),
    (
        "sklearn.feature_extraction.text",
        &["CountVectorizer", "TfidfTransformer", "TfidfVectorizer"],
    ),
    (
        "sklearn.impute._base",
        &["SimpleImputer", "MissingIndicator"],
    ),
    ("sklearn.linear_model._base", &["LinearRegression"]),
    (
        "sklearn.linear_model._coordinate_descent",
        &["Lasso", "ElasticNet"],
    ),
    ("sklearn.linear_model._logistic", &["LogisticRegression"]),
    ("sklearn.linear_model._ridge", &["Ridge", "RidgeClassifier"]),
    (
        "sklearn.linear_model._stochastic_gradient",
        &["SGDClassifier", "SGDRegressor"],
    ),
    (
        "sklearn.naive_bayes",
        &["GaussianNB", "MultinomialNB", "BernoulliNB"],
    ),
    (
        "sklearn.neighbors._classification",
        &["KNeighborsClassifier"],
    ),
    ("sklearn.neighbors._regression", &["KNeighborsRegressor"]),
    ("sklearn.pipeline", &["Pipeline", "FeatureUnion"]),
    (
        "sklearn.preprocessing._data",
        &[
            "StandardScaler",
            "MinMaxScaler",
            "RobustScaler",
            "MaxAbsScaler",
        ],
    ),
    (
        "sklearn.preprocessing._encoders",
        &["OneHotEncoder", "OrdinalEncoder"],
    ),
    (
        "sklearn.preprocessing._label",
        &["LabelEncoder", "LabelBinarizer"],
    ),
    (
        "sklearn.svm._classes",
        &["SVC", "SVR", "LinearSVC", "LinearSVR"],
    ),
    ("sklearn.tree._classes", TREES),
    ("sklearn.tree._tree", &["Tree"]),
    ("sklearn.utils._bunch", &["Bunch"]),
    ("torch", TORCH),
    ("torch._tensor", &["_rebuild_from_type_v2"]),
    ("torch._utils", TORCH_REBUILD),
    ("torch.nn.parameter", &["Parameter", "Buffer"]),
    ("torch.nn.modules.activation", ACTIVATIONS),
    (
        "torch.nn.modules.batchnorm",
        &["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"],
    ),
    (
        "torch.nn.modules.container",
        &["Sequential", "ModuleList", "ModuleDict", "ParameterList"],
    ),
    (
        "torch.nn.modules.conv",
        &[
            "Conv1d",
            "Conv2d",
            "Conv3d",
            "ConvTranspose1d",
            "ConvTranspose2d",
        ],
    ),
    (
        "torch.nn.modules.dropout",
        &["Dropout", "Dropout1d", "Dropout2d"],
    ),
    ("torch.nn.modules.flatten", &["Flatten", "Unflatten"]),
    (
        "torch.nn.modules.linear",
        &[
            "Linear",
            "Identity",
            "Bilinear",
            "NonDynamicallyQuantizableLinear",
        ],
    ),
    (
        "torch.nn.modules.normalization",
        &["LayerNorm", "GroupNorm", "RMSNorm"],
    ),
    ("torch.nn.modules.pooling", POOLING),
    ("torch.nn.modules.rnn", &["LSTM", "GRU", "RNN"]),
    ("torch.nn.modules.sparse", &["Embedding", "EmbeddingBag"]),
    ("torch.nn.modules.transformer", TRANSFORMER),
    ("torch.serialization", &["_get_layout"]),
    (
        "torch.storage",
        &["UntypedStorage", "TypedStorage", "_LegacyStorage"],
    ),
];

const BUILTINS: &[&str] = &[
    "object",
    "set",
    "frozenset",
    "list",
    "dict",
    "tuple",
    "int",
    "long",
    "float",
    "complex",
    "bool",
    "str",
    "unicode",
    "bytes",
    "bytearray",
    "slice",
    "range",
    "xrange",
    "Ellipsis",
    "NotImplemented",
];
const NUMPY: &[&str] = &[
    "ndarray",
    "dtype",
    "bool_",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "str_",
    "bytes_",
    "datetime64",
    "timedelta64",
    "void",
    "object_",
];
const NUMPY_DTYPES: &[&str] = &[
    "BoolDType",
    "Int8DType",
    "Int16DType",
    "Int32DType",
    "Int64DType",
    "UInt8DType",
    "UInt16DType",
    "UInt32DType",
    "UInt64DType",
    "Float16DType",
    "Float32DType",
    "Float64DType",
    "StrDType",
    "BytesDType",
    "ObjectDType",
];
const TORCH: &[&str] = &[
    "Size",
    "Tensor",
    "device",
    "dtype",
    "float",
    "float16",
    "float32",
    "float64",
    "bfloat16",
    "half",
    "double",
    "int",
    "long",
    "short",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "bool",
    "complex64",
    "complex128",
    "qint8",
    "quint8",
    "float8_e4m3fn",
    "float8_e5m2",
    "FloatStorage",
    "DoubleStorage",
    "HalfStorage",
    "BFloat16Storage",
    "LongStorage",
    "IntStorage",
    "ShortStorage",
    "CharStorage",
    "ByteStorage",
    "BoolStorage",
    "QInt8Storage",
    "QUInt8Storage",
    "QInt32Storage",
    "ComplexFloatStorage",
    "ComplexDoubleStorage",
    "strided",
    "contiguous_format",
    "channels_last",
    "preserve_format",
    "per_tensor_affine",
    "per_channel_affine",
];
const TORCH_REBUILD: &[&str] = &[
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v3",
    "_rebuild_parameter",
    "_rebuild_parameter_with_state",
    "_rebuild_qtensor",
    "_rebuild_sparse_tensor",
    "_rebuild_sparse_csr_tensor",
    "_rebuild_meta_tensor_no_storage",
];
const FOREST: &[&str] = &[
    "RandomForestClassifier",
    "RandomForestRegressor",
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
];
const TREES: &[&str] = &[
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
];
const ACTIVATIONS: &[&str] = &[
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "GELU",
    "SiLU",
    "ELU",
    "Tanh",
    "Sigmoid",
    "Softmax",
    "LogSoftmax",
    "Softplus",
    "Hardswish",
    "Hardsigmoid",
    "Mish",
    "PReLU",
    "MultiheadAttention",
];
const POOLING: &[&str] = &[
    "MaxPool1d",
    "MaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
];
const TRANSFORMER: &[&str] = &[
    "Transformer",
    "TransformerEncoder",
    "TransformerDecoder",
    "TransformerEncoderLayer",
    "TransformerDecoderLayer",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_exactly_and_never_by_prefix() {
        assert_eq!(standing("collections", "OrderedDict"), Standing::Allowed);
        assert_eq!(
            standing("collections", "OrderedDict.fromkeys"),
            Standing::Unlisted
        );
        assert_eq!(
            standing("collections.abc", "OrderedDict"),
            Standing::Unlisted
        );
        assert_eq!(
            standing("torch.storage", "_load_from_bytes"),
            Standing::Dangerous
        );
        assert_eq!(standing("builtins ", "set"), Standing::Unlisted);
    }

    /// Gadgets that were missing from lists of bad names (research list C).
    #[test]
    fn known_gadgets_are_never_allowed() {
        for (module, name) in [
            ("pkgutil", "resolve_name"),
            ("importlib", "import_module"),
            ("operator", "methodcaller"),
            ("operator", "attrgetter"),
            ("cProfile", "run"),
            ("profile", "runctx"),
            ("pdb", "run"),
            ("timeit", "timeit"),
            ("trace", "Trace"),
            ("doctest", "debug_script"),
            ("code", "interact"),
            ("idlelib.run", "Executive"),
            ("lib2to3.pgen2.pgen", "ParserGenerator"),
            ("ensurepip", "_run_pip"),
            ("uuid", "_get_command_stdout"),
            ("imaplib", "IMAP4_stream"),
            ("_pyrepl.pager", "pipe_pager"),
            ("test.support.script_helper", "assert_python_ok"),
            ("ctypes", "CDLL"),
            ("marshal", "loads"),
            ("types", "FunctionType"),
            ("pty", "spawn"),
            ("runpy", "run_path"),
            ("asyncio", "create_subprocess_shell"),
            ("multiprocessing.util", "spawnv_passfds"),
            ("numpy.f2py.crackfortran", "myeval"),
            ("torch.utils.collect_env", "run"),
            ("torch._inductor.codecache", "compile_file"),
            (
                "torch.fx.experimental.symbolic_shapes",
                "ShapeEnv.evaluate_guards_expression",
            ),
            ("torch.jit.unsupported_tensor_ops", "execWrapper"),
            ("mlflow.projects.backend.local", "x"),
            ("ssl", "get_server_certificate"),
            ("logging", "FileHandler"),
            ("io", "FileIO"),
            ("distutils.file_util", "write_file"),
            ("builtins", "eval"),
            ("__builtin__", "exec"),
            ("os", "system"),
            ("posix", "system"),
            ("nt", "system"),
        ] {
            assert_eq!(
                standing(module, name),
                Standing::Dangerous,
                "{module}.{name}"
            );
        }
    }

    #[test]
    fn no_module_is_listed_twice() {
        let mut modules: Vec<&str> = ALLOWED.iter().map(|(m, _)| *m).collect();
        let count = modules.len();
        modules.sort_unstable();
        modules.dedup();
        assert_eq!(modules.len(), count);
    }
}
