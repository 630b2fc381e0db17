"""Whole networks beside other systems.

to_tflite.py     a graph as a .tflite file
to_onnx.py       a graph as an ONNX model
contestants.py   fastdw and the others, each with the same weights
__main__.py      the command
"""
