"""The catalogue of the toolkit's failures, the more telling before the more general: the first that fits is told."""

from __future__ import annotations

import re

from mcwbuild.contract.failures import Entry, Group, Weight

TOOLKIT2 = "airockchip/rknn-toolkit2"
OLDER = "rockchip-linux/rknn-toolkit2"


def _entry(
    name: str, group: Group, pattern: str, cause: str, remedy: str, *cited: str, weight: Weight = "fails"
) -> Entry:
    return Entry(name, group, re.compile(pattern), cause, remedy, weight, cited)


_ENVIRONMENT: tuple[Entry, ...] = (
    _entry("toolkit-setuptools", "the environment", r"No module named 'pkg_resources'",
           "The toolkit imports pkg_resources, which setuptools has no more since version 82.",
           "Install setuptools below 82; mcwbuild's own environments have it."),
    _entry("toolkit-exit", "the environment", r"name 'exit' is not defined",
           "Toolkits up to 2.3.0 call `exit`, which is not there in notebooks.",
           "Run it as a program, or take 2.3.2.", f"{TOOLKIT2}#259", f"{TOOLKIT2}#44"),
    _entry("toolkit-missing", "the environment",
           r"No module named|cannot import name|No such file or directory: .*site-packages",
           "The toolkit, or a library that it needs, is not installed in this Python.",
           "Run this phase in its own image or environment."),
    _entry("toolkit-onnx", "the environment", r"module 'onnx' has no attribute 'mapping'",
           "onnx 1.19 and later have no `mapping`, which the toolkit uses.",
           "Install onnx 1.18 or older; mcwbuild's own environments have it."),
    _entry("disk-full", "memory and disk", r"No space left on device",
           "The disk is full.", "Free some space where temporary files go (TMPDIR)."),
    _entry("out-of-memory", "memory and disk",
           r"MemoryError|std::bad_alloc|Unable to allocate|Cannot allocate memory|Failed to serialize proto",
           "Memory ran out; the toolkit takes about three times the model's size, and 13 MB for each "
           "calibration image of 640 x 640.",
           "Give the machine or the container more memory, or fewer --calibration-images."),
)  # fmt: skip

_GRAPH: tuple[Entry, ...] = (
    _entry("fusion-rule", "the graph", r"disable_rules=\['(?P<rule>\w+)'\]",
           "One of the toolkit's own fusion rules fails on this graph.",
           "mcwbuild builds again without that rule, and says so; by hand: rknn.config(disable_rules=['...'])."),
    _entry("opset", "the graph", r"Unsupport onnx opset",
           "The ONNX file's opset is newer than 19.", "Export again with --opset 19 or lower."),
    _entry("operator-unknown", "operators",
           r"No Op registered for|is not a registered function/op|No opset import for domain",
           "Neither the toolkit nor ONNX Runtime, which it uses, knows this operator.",
           "Change that part of the model, or cut it off."),
    _entry("graph-type", "the graph", r"INVALID_GRAPH",
           "The graph is not valid ONNX: an operator gets a type that it does not take.",
           "Export again; the first layer needs float32 input."),
    _entry("dynamic-graph", "the graph", r"cause the graph to be a dynamic graph",
           "NonMaxSuppression, NonZero and If make sizes that depend on the image; an NPU needs fixed ones.",
           "Cut the model in front of them; mcwbuild does their work on the processor."),
    _entry("input-shape", "the graph", r"The input shape .* of '.*' is not support",
           "The network's input has a size that is left open.", "Export again with fixed input sizes."),
    _entry("input-dtype", "the graph", r"Not Support Dtype",
           "The compiler aborts on a network whose input is not float32.", "Export the model with a float32 input."),
    _entry("all-constant", "the graph", r"All outputs .* of model are constants",
           "Nothing in the outputs depends on the input.",
           "Check the export: the input may be overwritten in the graph."),
    _entry("quantized-model", "the graph", r"If a quantized model has been import",
           "The ONNX file holds quantization of its own (QuantizeLinear), and the toolkit does not quantize twice.",
           "Export the model without quantization, or build with --dtype fp16, which keeps its scales."),
    _entry("conv-unsupported", "the chip", r"Meet unsupported conv",
           "The compiler aborts: this chip does not compute that convolution in this type.", "Use the other --dtype."),
    _entry("no-float", "the chip", r"not support do_quantization = False",
           "The NPU of this chip computes in integers only.", "Use --dtype int8 for this chip."),
    _entry("compiler-crash", "operators",
           r"[Ss]egmentation fault|SIGSEGV|buffer overflow"
           r"|^(?:corrupted (?:size|double-linked)|double free|(?:free|malloc)\(\): |munmap_chunk)",
           "The compiler crashes. Known causes: cubic Resize, MatMul of a tensor with its own transpose, "
           "w8a16 on rk3562.",
           "Replace such layers: Resize by linear or nearest, the product by one of two different tensors."),
    _entry("mmse-tensor", "calibration", r"Can not find tensor value info",
           "The algorithm mmse fails on some networks.", "Try --algorithm normal or kl_divergence.",
           f"{TOOLKIT2}#195", f"{TOOLKIT2}#355"),
)  # fmt: skip

_CALIBRATION: tuple[Entry, ...] = (
    _entry("calibration-missing", "calibration", r"dataset file need be provided",
           "INT8 needs calibration images, and none were given.", "Give --data with a training split, or --dataset."),
    _entry("calibration-list", "calibration", r"Dataset file .* not found",
           "The list of calibration images is not there.", "Check the path of the list."),
    _entry("calibration-image", "calibration", r"The image of .* is invalid",
           "A calibration image is not there, or cannot be decoded.",
           "Correct the list: paths are relative to its own folder. mcwbuild's --dataset tells every bad line."),
    _entry("calibration-kind", "calibration", r"Unsupport file \S*!",
           "A line of the list is no .jpg, .png, .bmp or .npy; a space in a name ends it, and comments are not known.",
           "Rename the file; mcwbuild's --dataset takes names as they are and writes its own list."),
    _entry("calibration-count", "calibration", r"The input num: \d+ in .* not match input num",
           "A line of the list names more or fewer files than the network has inputs, or the list is empty.",
           "Write one image a line."),
    _entry("calibration-shape", "calibration", r"The input\('.*\.npy'\) shape .* is wrong",
           "An .npy file of the list has not the network's shape, channels first.",
           "Store it as [1, C, H, W], raw values of 0 to 255."),
    _entry("not-a-number", "calibration", r"cannot convert float NaN to integer",
           "A calibration image, or a layer that it runs through, gives NaN.",
           "Check .npy files for NaN, and the network for roots, logarithms or arc functions out of their range."),
    _entry("calibration-path", "calibration", r"path should be string, bytes, os.PathLike or integer, not list",
           "rknn.build takes the path of a list, not a list.", "Write the paths into a text file."),
)  # fmt: skip

_MODEL: tuple[Entry, ...] = (
    _entry("model-missing", "the model file", r"Model file .* not exists",
           "The model file is not there.", "Check its path."),
    _entry("model-suffix", "the model file", r"The extension of \[.*\] is not",
           "The toolkit wants a file that is called .onnx.", "Rename the file."),
    _entry("model-damaged", "the model file", r"Error parsing message|list index \(0\) out of range",
           "The file is no ONNX, empty, or cut off.", "Export or copy it again."),
    _entry("outputs-unknown", "the model file", r"in outputs=\[.*\] is invalid",
           "An output that was asked for is not in the graph.", "Take the tensor's own name, as Netron shows it."),
    _entry("export-folder", "the model file", r"FileNotFoundError: .*No such file or directory",
           "The folder that the .rknn goes to is not there.", "Make it first."),
)  # fmt: skip

_CALLS_GROUP: Group = "calls in the wrong order or with wrong values"
_CALLS: tuple[Entry, ...] = (
    _entry("target-unknown", "the chip", r"Invalid target_platform",
           "The toolkit does not build for this chip; rk1808, rk3399pro, rv1109 and rv1126 need RKNN-Toolkit 1.",
           "`mcwbuild targets` lists the chips."),
    _entry("target-missing", _CALLS_GROUP, r"'target_platform' has not been set",
           "rknn.config was called without a chip.", "Give target_platform."),
    _entry("config-first", _CALLS_GROUP, r"Please call rknn\.config first",
           "load_onnx was called before config succeeded.", "Call config, and look at what it returns."),
    _entry("load-first", _CALLS_GROUP, r"The model has not been loaded",
           "build was called before a model was loaded.", "Call load_onnx, and look at what it returns."),
    _entry("build-first", _CALLS_GROUP, r"RKNN model does not exist, please load & build",
           "export_rknn was called without a build that succeeded.", "The first error above it is the cause."),
    _entry("build-twice", _CALLS_GROUP, r"Repeat call the 'rknn\.build'",
           "build was called twice on one object.", "Make a new RKNN object for each build."),
    _entry("runtime-first", _CALLS_GROUP, r"The runtime has not been initialized",
           "inference was called before init_runtime succeeded.", "Call init_runtime, and look at what it returns."),
    _entry("config-keyword", _CALLS_GROUP, r"' is not support! Maybe you mean|Valid input is \[",
           "rknn.config does not know one of its arguments.", "The message lists those that it knows."),
    _entry("config-value", _CALLS_GROUP, r"Invalid quantized_(?:dtype|algorithm|method)",
           "rknn.config does not know this value.", "The message lists those that it knows."),
    _entry("config-mean", _CALLS_GROUP, r"The shape of std_values is different from mean_values",
           "mean_values and std_values are not equally long.", "Give one value for each channel in both."),
    _entry("config-string", _CALLS_GROUP, r"The length of custom_string must be less than",
           "custom_string takes 1,023 characters.", "Shorten it."),
    _entry("config-gdq", _CALLS_GROUP, r"quantized_algorithm = 'gdq' only support",
           "gdq is for w4a16 and w8a16 only.", "Take normal, kl_divergence or mmse."),
    _entry("simulator-loaded", "the simulator", r"loaded by 'load_rknn' not support inference on the simulator",
           "The simulator runs only what the same process has built.",
           "Build the model there, or give a board as target."),
    _entry("simulator-only", "the simulator", r"Not support in simulator environment",
           "Speed and memory can be measured on a board only.", "Attach one, and give target to init_runtime."),
    _entry("inference-shape", "the simulator", r"The input\(ndarray\) shape .* is wrong",
           "The image has not the network's size, or its channels are first.",
           "Give [1, H, W, C], or say data_format=['nchw']."),
    _entry("inference-dtype", "the simulator", r"Unsupport inputs\[\d+\]\.dtype",
           "The simulator takes no float64.", "Give uint8 or float32."),
    _entry("rknn-damaged", "the model file", r"is invalid \(wrong magic\)|invalid RKNN_MAGIC",
           "The file is no .rknn, cut off, or a pointer of Git LFS.", "Copy it again, and compare its SHA-256."),
    _entry("board-missing", "the board", r"Get board target failed|no devices/emulators found",
           "No board answers over adb.", "Attach it, start rknn_server there, and look at `adb devices`.",
           "rockchip-linux/rknn-toolkit#171", "airockchip/rknn_model_zoo#32"),
)  # fmt: skip

_BOARD: tuple[Entry, ...] = (
    _entry("runtime-old", "the board", r"Invalid RKNN model version|RKNN_ERR_MODEL_INVALID(?!\. \(If)",
           "The board's librknnrt.so is older than the toolkit that built the model.",
           "Replace /usr/lib/librknnrt.so by the toolkit's version.",
           f"{TOOLKIT2}#281", f"{TOOLKIT2}#254", f"{OLDER}#212", f"{OLDER}#316"),
    _entry("runtime-operator", "the board", r"Unsupport CPU op: \w+",
           "The build held an operator that the runtime does not have: the toolkit had only simulated it.",
           "Replace it in the model; mcwbuild refuses such builds.", f"{TOOLKIT2}#93", f"{TOOLKIT2}#538"),
    _entry("driver-missing", "the board", r"failed to open rknpu module",
           "The NPU's driver is not there, or may not be opened.",
           "Load the rknpu driver; run as root or in the group of /dev/dri/renderD*.",
           f"{TOOLKIT2}#399", f"{OLDER}#244"),
    _entry("submit-failed", "the board", r"failed to submit!",
           "Driver, runtime and toolkit do not fit, or a context is used from several threads.",
           "Bring driver, runtime and toolkit to versions that belong together; one context for each thread.",
           f"{TOOLKIT2}#447", f"{TOOLKIT2}#378", f"{TOOLKIT2}#531"),
    _entry("runtime-missing", "the board", r"Can not find dynamic library",
           "librknnrt.so is not in /usr/lib.", "Copy it there; in a container, mount it.",
           f"{OLDER}#16", f"{TOOLKIT2}#33"),
)  # fmt: skip

_WARNINGS: tuple[Entry, ...] = (
    _entry("operator-simulated", "operators", r"No lowering found for|CustomOperatorLower",
           "The build succeeds and the simulator computes it, but the chip's runtime has no such operator: "
           "it refuses the model.",
           "Replace these operators in the model, or cut the graph in front of them. mcwbuild takes it for a failure.",
           weight="warns"),
    _entry("operator-custom", "operators", r"Meet RKNN unsupport Operator",
           "The build succeeds, but the operator is left to a program that you would have to write for the board.",
           "Replace these operators in the model, or cut the graph in front of them. mcwbuild takes it for a failure.",
           weight="warns"),
    _entry("register-overflow", "the chip", r"REGTASK: The bit width of field value exceeds the limit",
           "A size of that layer does not fit into the NPU's register (met with a stride of 17): "
           "the build succeeds and the simulator computes it, but what the board computes is unknown.",
           "Change that layer: smaller strides, kernels or images. Look at the board's results before you trust them.",
           weight="warns"),
    _entry("fp16-overflow", "the chip", r"out of the float16",
           "Values leave the range of float16 (65504): they become infinite.",
           "Use --dtype int8, or scale the values in that layer.", weight="warns"),
)  # fmt: skip

ENTRIES: tuple[Entry, ...] = (*_ENVIRONMENT, *_GRAPH, *_CALIBRATION, *_MODEL, *_CALLS, *_BOARD, *_WARNINGS)
