import './panel.css';
import './cell.css';
